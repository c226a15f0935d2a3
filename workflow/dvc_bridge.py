"""Keep Snakemake and DVC agreed on what is up to date in one work tree.

Snakemake judges by file times and by its notes on the jobs it ran, DVC by the content of files
(dvc.lock). Each knows its own outputs and misjudges those that the other brought. So,

adopt   before Snakemake plans: outputs that DVC brought (pull, checkout, experiment, run cache)
        count as made by Snakemake where DVC calls their stage up to date, and as incomplete
        where it does not;
lock    while Snakemake works: DVC finds the outputs busy, and Snakemake those that DVC works on;
record  when Snakemake has ended: the stages that are finished go into dvc.lock and DVC's cache.

The Snakefile calls all three. DVC_BRIDGE=off turns them off, DVC_BRIDGE=adopt leaves out `record`
(which copies outputs into DVC's cache). Under DVC itself, in the processes of jobs, without DVC
and outside a DVC repository there is no bridge.

Three things used here come without a promise of stability, and tests/workflow/test_bridge.py
fails when one changes: Snakemake's FilePersistence, DVC's rwlock and its table of known hashes.
"""

import atexit
import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.persistence.file import FilePersistence
from work_tree import files

SEEN = Path(".snakemake/dvc_bridge.json")  # digests of what the two agreed on last
STAMP = ".snakemake_timestamp"  # carries the time of a directory() output
TOLERANCE_SECONDS = 1e-3
# Touching waits 0.1 s a job, to no end here: minutes for a thousand shards.
TOUCH = """
from snakemake.cli import main
from snakemake.executors import touch
touch.Executor.SLEEPING_TIME = 0
main()
"""


def is_wanted() -> bool:
    """Whether there is a DVC repository here, a DVC to ask, and nobody turned the bridge off."""
    if os.getenv("DVC_BRIDGE") == "off" or "DVC_STAGE" in os.environ:
        return False
    config = Path(".dvc/config")
    if not config.is_file() or not importlib.util.find_spec("dvc"):
        return False
    here = Path.cwd()
    in_git = any((folder / ".git").exists() for folder in (here, *here.parents))
    return in_git or "no_scm" in config.read_text()


class Bridge:
    """The bridge of one run. `outs` are the outputs that dvc.yaml lists for each stage."""

    def __init__(self, outs: dict[str, list[Path]]):
        self.outs = outs
        self.notes = FilePersistence(path=Path(".snakemake").absolute())
        self.held = ExitStack()
        self.busy = ""  # why DVC could not be asked
        self.planned_on: dict[str, str] = {}  # digests of what Snakemake plans with

    def adopt(self) -> None:
        """Make Snakemake judge as DVC does what DVC has brought."""
        self.planned_on = self._seen()
        if self.planned_on != _remembered():
            self._look_again()
            self.planned_on = self._seen()

    def _look_again(self) -> None:
        strangers = {stage: self.strangers(outs) for stage, outs in self.outs.items()}
        if any(strangers.values()) or self._seen()["lock"] != _remembered().get("lock"):
            try:
                self.lock()
                self.held.close()  # `dvc status` wants to look at the outputs, too
                behind = out_of_date()
            except WorkflowError as error:
                self.busy = f"cannot tell what DVC brought: {error}"
                say(self.busy)
                return
            self._disown([path for stage in behind for path in strangers.get(stage, [])])
            self._accept([stage for stage in self.outs if stage not in behind], strangers)
        self._remember()

    def lock(self) -> None:
        """Hold DVC's own lock on all outputs until the process ends, however it ends.

        Raises WorkflowError while DVC works on one of them, or did when Snakemake planned.
        """
        if self.busy:
            raise WorkflowError(f"{self.busy}\n(DVC_BRIDGE=off does without DVC)")
        from dvc.fs import localfs
        from dvc.lock import LockError
        from dvc.rwlock import rwlock

        folder = os.path.abspath(".dvc/tmp")
        os.makedirs(folder, exist_ok=True)
        paths = [os.path.abspath(path) for outs in self.outs.values() for path in outs]
        try:
            self.held.enter_context(rwlock(folder, localfs, "snakemake", [], paths, False))
        except LockError as error:
            raise WorkflowError(str(error).split("\n\n")[0]) from error
        if self.planned_on and self.planned_on != self._seen():
            raise WorkflowError("outputs have changed since Snakemake planned: start it again")
        atexit.register(self.held.close)

    def record(self, stages: Iterable[str]) -> None:
        """Commit finished stages to dvc.lock; a DVC that refuses costs a line, not the run."""
        self.held.close()
        try:
            behind = out_of_date()
            new = [stage for stage in stages if stage in behind]
            if new:
                say(f"recording in dvc.lock: {', '.join(new)}")
                dvc("commit", "--quiet", "--force", "--no-relink", *new)
            self._remember()
        except WorkflowError as error:
            say(f"not recorded: {error}")

    def strangers(self, outs: Iterable[Path]) -> list[Path]:
        """The files that are not as Snakemake left them when it had run their job."""
        return [path for path in files(outs) if not self._is_own(path)]

    def _is_own(self, path: Path) -> bool:
        for each in (path, *path.parents[:-1]):
            note = self.notes._read_record(str(each))
            if note and each == path:
                return abs(os.lstat(path).st_mtime - note.endtime) < TOLERANCE_SECONDS
            if note:  # in a directory() output: nothing has come into it since
                stamp = each / STAMP
                times = [os.lstat(file).st_mtime for file in (stamp, path) if file.exists()]
                newest = max(times) - note.endtime
                return len(times) == 2 and abs(newest) < TOLERANCE_SECONDS
        return False

    def _disown(self, paths: list[Path]) -> None:
        """Make Snakemake take the files for the remains of a job that was cut short."""
        if paths:
            say(f"{len(paths)} outputs are neither Snakemake's nor up to date for DVC: again")
        for each in {each for path in paths for each in (path, *path.parents[:-1])}:
            self.notes._mark_incomplete(str(each), None)

    def _accept(self, stages: list[str], strangers: dict[str, list[Path]]) -> None:
        """Make Snakemake note the outputs of stages as its own, under what dvc.yaml lists."""
        brought = [stage for stage in stages if strangers[stage]]
        if brought:
            say(f"taken over from DVC: {', '.join(brought)}")
        if stages:
            self.lock()
            with hashes_kept(path for stage in stages for path in files(self.outs[stage])):
                touch(stages, *(["--forceall"] if brought else []))
            self.held.close()

    def _seen(self) -> dict[str, str]:
        lock = Path("dvc.lock")
        outs = itertools.chain.from_iterable(self.outs.values())
        times = sorted(f"{path} {os.lstat(path).st_mtime_ns}" for path in files(outs))
        return {
            "lock": digest(lock.read_bytes() if lock.exists() else b""),
            "outputs": digest("\n".join(times).encode()),
        }

    def _remember(self) -> None:
        """Note that there is nothing to look at again, if so."""
        self.notes._clear_cache()
        if not any(self.strangers(outs) for outs in self.outs.values()):
            SEEN.write_text(json.dumps(self._seen()))


def _remembered() -> dict[str, str]:
    return json.loads(SEEN.read_text()) if SEEN.exists() else {}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def out_of_date() -> list[str]:
    """The stages that DVC would not call up to date."""
    return list(json.loads(dvc("status", "--json")))


@contextmanager
def hashes_kept(paths: Iterable[Path]) -> Iterator[None]:
    """Keep what DVC knows of files whose time, and nothing else, is about to change.

    DVC would otherwise hash all of them again.
    """
    from dvc.fs import localfs
    from dvc.repo import Repo

    with Repo() as repo:
        names = [os.path.abspath(path) for path in paths]
        known = {name: repo.state.get(name, localfs)[1] for name in names}
        yield
        for name, value in known.items():
            if value:
                repo.state.save(name, localfs, value)


def touch(stages: list[str], *arguments: str) -> None:
    """Let Snakemake note outputs of the stages as made: those that it would make again, or others
    that the arguments name."""
    command = [sys.executable, "-c", TOUCH, "--touch", "--cores", "9999", *arguments]
    run(command, DVC_STAGE=" ".join(stages))


def dvc(*arguments: str) -> str:
    return run([sys.executable, "-m", "dvc", *arguments])


def run(command: list[str], **environment: str) -> str:
    """The output of a command; WorkflowError with all it said where it fails."""
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise WorkflowError(f"{' '.join(command[1:])}\n{done.stdout}{done.stderr}")
    return done.stdout


def say(message: str) -> None:
    print(f"dvc bridge: {message}", file=sys.stderr)
