"""Disks without room, folders and files without rights.

No program: benchmarks/faults.py uses it.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_bench import (
    Bench,
    Result,
    SkippedError,
    one_of_each_kind,
)
from fault_jobs import Conditions, make_way
from fault_stages import (
    Job,
)

IS_ROOT = os.geteuid() == 0
ROOM = 256 << 20  # of a disk before it is filled


def full_disk(bench: Bench, stage: str, result: Result) -> None:
    """No room at all, for half of the outputs, for nearly all of them; then room again."""
    size = sum(map(len, bench.whole(stage).values()))
    for share in (0, 0.5, 0.95):
        room = int(share * size)
        if IS_ROOT:
            with (
                bench.place(stage, name="disk") as tree,
                filled_disk(bench, stage, tree, room) as free,
            ):
                told = bench.disturbed(result, stage, tree, ("full", "space"))
                free()
                result.add(f"room for {share:.0%}", told + bench.recovered(tree, stage))
        else:
            with bench.place(stage) as tree:
                limit = Conditions(file_bytes=room)
                told = bench.disturbed(result, stage, tree, ("full", "space", "large"), limit)
                result.add(f"files up to {room} bytes", told + bench.recovered(tree, stage))


@contextmanager
def filled_disk(bench: Bench, stage: str, tree: Path, room: int) -> Iterator[Callable[[], None]]:
    """A disk of its own under a tree, full but for `room` bytes; gives what makes room again."""
    used = sum(path.stat().st_size for path in tree.rglob("*"))
    shutil.rmtree(tree)
    tree.mkdir()
    with mounted("tmpfs", "-t", "tmpfs", "-o", f"size={2 * used + ROOM}", at=tree):
        bench.toy.place(tree, stage)
        ballast = tree / "ballast"
        for job in bench.toy.jobs[stage]:
            make_way(tree, job)
        with open(ballast, "wb") as file:
            disk = os.statvfs(tree)
            os.posix_fallocate(file.fileno(), 0, max(1, disk.f_bavail * disk.f_bsize - room))
        yield ballast.unlink


@contextmanager
def mounted(source: str | Path, *options: str, at: Path) -> Iterator[None]:
    done = subprocess.run(["mount", *options, source, at], capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


def read_only(bench: Bench, stage: str, result: Result) -> None:
    """Folders of outputs that cannot be written to; then the logs neither."""
    words = ("read-only", "permission")
    for tops in (("data", "results"), (".",)):
        with bench.place(stage) as tree:
            for job in bench.toy.jobs[stage]:
                make_way(tree, job)
            with contextlib.ExitStack() as stack:
                for top in tops:
                    (tree / top).mkdir(exist_ok=True)
                    stack.enter_context(frozen(tree / top))
                told = bench.disturbed(result, stage, tree, words)
            result.add(f"{' and '.join(tops)} read-only", told + bench.recovered(tree, stage))


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    """A folder that nobody can write to; without root: one that its owner cannot."""
    if IS_ROOT:
        with mounted(folder, "--bind", at=folder):
            subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
            yield
    else:
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for each in folders:
            each.chmod(0o555)
        try:
            yield
        finally:
            for each in folders:
                each.chmod(0o755)


def no_permission(bench: Bench, stage: str, result: Result) -> None:
    """Outputs that may not be written; then an input of each kind that may not be read."""
    another = Conditions(plain_user=True)
    with bench.place(stage) as tree:
        open_up(tree, bench.toy.jobs[stage])
        closed = [tree, *(path for path in tree.rglob("*") if path.is_dir())]
        closed = [path for path in closed if "logs" not in path.relative_to(tree).parts]
        for folder in closed:
            folder.chmod(0o555)
        told = bench.disturbed(result, stage, tree, ("permission",), another)
        for folder in closed:
            folder.chmod(0o777)
        result.add("outputs may not be written", told + bench.recovered(tree, stage))
    for name in one_of_each_kind(bench, stage, "permission"):
        with bench.place(stage) as tree:
            open_up(tree, bench.toy.jobs[stage])
            (tree / name).chmod(0)
            told = bench.disturbed(
                result, stage, tree, ("permission",), another, names=(Path(name).name,)
            )
            (tree / name).chmod(0o666)
            result.add(f"{name} may not be read", told + bench.recovered(tree, stage))


def open_up(tree: Path, jobs: list[Job]) -> None:
    """Let everybody read and write everything, with the folders of outputs and logs in place."""
    for job in jobs:
        make_way(tree, job)
    for path in [tree, *tree.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
