"""One Snakemake at a time in a work tree; nothing left behind by killed runs or other settings."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Snakemake's own lock, which a killed run leaves behind and any run that ends removes. Runs under
# DVC go without (`--nolock` in dvc.yaml): one that is about to be refused must not stop them.
LOCKS = Path(".snakemake/locks")
RUNNING = Path(".snakemake/running")  # ours: locked by the kernel for as long as a run lives


def begin() -> None:
    """Hold the work tree until this process ends, however it ends.

    Raises WorkflowError while another run holds it, also one that DVC started.
    """
    global _held
    _held = _try_to_hold()
    if _held is None:
        raise WorkflowError(f"process {RUNNING.read_text()} is running Snakemake in this folder")
    _held.truncate(0)
    _held.write(str(os.getpid()))
    _held.flush()


def clear_stale_lock() -> None:
    """Remove the lock of a run that was killed, so that the next one simply goes on."""
    if LOCKS.is_dir() and any(LOCKS.iterdir()):
        held = _try_to_hold()
        if held is not None:
            shutil.rmtree(LOCKS, ignore_errors=True)
            held.close()


def is_running() -> bool:
    """Whether another process runs Snakemake in this work tree."""
    held = _try_to_hold()
    if held is not None:
        held.close()
    return held is None


def _try_to_hold():
    RUNNING.parent.mkdir(exist_ok=True)
    file = open(RUNNING, "a+", encoding="utf-8")  # noqa: SIM115 (open as long as it is held)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


_held = None


class Plan:
    """What a run has before it: Snakemake's jobs, sorted by the stages of dvc.yaml.

    `outs` are the paths that dvc.yaml lists for each stage, `targets` the files that each stage's
    target asks for. A stage counts as whole when the run plans all of its targets: not where a
    single shard was asked for.
    """

    def __init__(self, dag, outs: dict[str, list[Path]], targets: dict[str, Iterable[str]]):
        self.dag = dag
        self.made = {str(path): job for job in dag.jobs for path in job.output}
        self.outs = {
            stage: outs[stage] for stage in targets if self.made.keys() >= {*targets[stage]}
        }

    def jobs(self, stage: str) -> list:
        """The jobs that make the outputs of a whole stage."""
        return [job for path, job in self.made.items() if within(Path(path), self.outs[stage])]

    def finished(self) -> list[str]:
        """The whole stages with nothing left to do."""

        def is_done(job) -> bool:
            return self.dag.finished(job) or not self.dag.needrun(job)

        return [stage for stage in self.outs if all(map(is_done, self.jobs(stage)))]

    def remove_leftovers(self) -> list[Path]:
        """Remove what no rule makes from the outputs of whole stages that run; what was removed.

        Shards of another shard count, a collection that was left out: `dvc repro` would have
        removed them with all the rest, and a reader of the folder would take them for data.
        """
        running = [stage for stage in self.outs if any(map(self.dag.needrun, self.jobs(stage)))]
        kept = {Path(path) for path in self.made}
        found = [
            path
            for path in files(out for stage in running for out in self.outs[stage])
            if not within(path, kept)
        ]
        for path in found:
            path.unlink()
            _remove_empty(path.parent, kept)
        return found


def _remove_empty(folder: Path, kept: set[Path]) -> None:
    stamp = folder / ".snakemake_timestamp"
    if folder not in kept and {*folder.iterdir()} <= {stamp}:
        shutil.rmtree(folder)


def files(outs: Iterable[str | Path]) -> Iterator[Path]:
    """All files under the paths but Snakemake's own marks."""
    for out in outs:
        if os.path.isdir(out) and not os.path.islink(out):
            yield from _files_inside(out)
        elif os.path.lexists(out):
            yield Path(out)


def _files_inside(folder: str | Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files_inside(entry.path)
            elif entry.name != ".snakemake_timestamp":
                yield Path(entry.path)


def within(path: Path, parents: Iterable[Path]) -> bool:
    """Whether a path is one of `parents` or lies in one."""
    return any(each in parents for each in (path, *path.parents))
