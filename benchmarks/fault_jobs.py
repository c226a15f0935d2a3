"""Jobs of the pipeline in processes that begin with all modules loaded, under given conditions.

No program: benchmarks/faults.py uses it. A kill at a random moment then falls into the work of the
job, which at toy size lasts a second, and not into the loading of modules before it.
"""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fault_stages import ROOT, Job, environment


@dataclass(frozen=True)
class Conditions:
    """Under which a job runs. `data_mb`: of memory of its own; -1 more than it begins with."""

    umask: int = 0o022
    plain_user: bool = False  # without root's right to read and write everything
    file_bytes: int | None = None
    data_mb: int | None = None
    clock: bool = False  # runs backwards


@dataclass
class Outcome:
    """How a stage ended: status 0 or that of the first job that failed, negative for a signal."""

    status: int = 0
    job: Job | None = None
    said: str = ""
    seconds: float = 0.0
    killed: bool = False
    per_job: list[float] = field(default_factory=list)

    def errors(self) -> list[str]:
        """The lines of the log's level ERROR, each without its head."""
        lines = self.said.splitlines()
        return [line.partition(" ERROR ")[2] for line in lines if " ERROR " in line[:60]]


class Runner:
    """Runs the jobs of stages in forks of a process with all modules loaded."""

    def __init__(self):
        # A thread pool does not survive a fork; the server's own path is its environment's.
        os.environ.update(environment(), OMP_NUM_THREADS="1")
        os.environ["PYTHONPATH"] += f":{Path(__file__).parent}"
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["fault_warm"])

    def start(self, tree: Path, job: Job, told: Path, conditions: Conditions):
        """A process that runs one job; all that it says goes to the file `told`."""
        process = self.context.Process(target=run_job, args=(tree, job, told, conditions))
        process.start()
        return process

    def run(
        self,
        tree: Path,
        jobs: list[Job],
        conditions: Conditions = Conditions(),
        *,
        kill_after: float | None = None,
        seconds: float = 300,
    ) -> Outcome:
        """Run the jobs of a stage one after the other, as Snakemake would, until one fails.

        `kill_after`: SIGKILL to whatever runs after so many seconds.
        """
        outcome, begin = Outcome(), time.monotonic()
        told = tree.parent / f"{tree.name}.said"
        for job in jobs:
            make_way(tree, job)
            started = time.monotonic()
            left = (kill_after if kill_after is not None else seconds) - (started - begin)
            process = self.start(tree, job, told, conditions)
            process.join(max(left, 0))
            if process.is_alive():
                outcome.killed = kill_after is not None
                end(process)
                outcome.said += "" if outcome.killed else f"\nstill running after {seconds} s"
            outcome.per_job.append(time.monotonic() - started)
            outcome.said += told.read_text(encoding="utf-8", errors="replace")
            outcome.status, outcome.job = process.exitcode, job
            if process.exitcode:
                break
        outcome.seconds = time.monotonic() - begin
        return outcome


def make_way(tree: Path, job: Job) -> None:
    """Remove a job's outputs, as Snakemake does before it runs the job."""
    for name in job.outputs:
        path = tree / name
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        for log in filter(None, [job.log]):
            (tree / log).parent.mkdir(parents=True, exist_ok=True)


def end(process) -> None:
    """SIGKILL a job and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


# In the job's process


def run_job(tree: Path, job: Job, told: Path, conditions: Conditions) -> None:
    """What the process of a job does; it ends with the status of the job."""
    os.setsid()
    with open(told, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.chdir(tree)
    apply(conditions)
    if job.script is None:
        os.execv("/bin/bash", ["bash", "-c", f"set -euo pipefail; {job.command}"])
    script, *words = job.script
    sys.argv = [script, *words]
    runpy.run_path(str(ROOT / script), run_name="__main__")


def apply(conditions: Conditions) -> None:
    """Put this process under the conditions."""
    os.umask(conditions.umask)
    if conditions.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (conditions.file_bytes,) * 2)
    if conditions.data_mb is not None:
        now = own_memory_mb() if conditions.data_mb < 0 else 0
        resource.setrlimit(resource.RLIMIT_DATA, ((now + abs(conditions.data_mb)) << 20,) * 2)
    if conditions.clock:
        turn_clock_back()
    if conditions.plain_user and os.geteuid() == 0:
        drop_capabilities()


def drop_capabilities() -> None:
    """Leave root its own files, with the modes that they have: as for every other user.

    Another user could not read the Python of root.
    """
    version = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(version, none):
        raise OSError(ctypes.get_errno(), "capset")


def own_memory_mb() -> int:
    """What RLIMIT_DATA counts of this process now, in MB."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmData"))


def turn_clock_back() -> None:
    """Let `time.time` run backwards, an hour every second, from now on."""
    real, begin = time.time, time.time()
    time.time = lambda: begin - 3600 * (real() - begin)
    nanoseconds = time.time
    time.time_ns = lambda: int(nanoseconds() * 1e9)
