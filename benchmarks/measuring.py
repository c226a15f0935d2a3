"""What several benchmarks need: clocks, memory, means over seeds, and files to measure on."""

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = Path(os.environ.get("CLAMP3_GOLDENS", ROOT.parent / "shared" / "goldens"))


def best_seconds(
    work: Callable[[], object], rounds: int, clock: Callable[[], float] = time.process_time
) -> float:
    """The least seconds of some rounds: of CPU time, or by another clock."""
    found = []
    for _ in range(rounds):
        begun = clock()
        work()
        found.append(clock() - begun)
    return min(found)


def children_seconds() -> float:
    """CPU seconds of all processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system


def peak_megabytes() -> float:
    """The most memory that this process has ever held (on Linux).

    Not getrusage's, in which a new process begins with what its parent held.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def mean_and_spread(values: Sequence[float], decimals: int = 3) -> str:
    """Mean ± standard deviation; of one value that is 0."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{decimals}f} ±{spread:.{decimals}f}"


def recorded(
    name: str, columns: Sequence[str] | None = None, goldens: Path = GOLDENS
) -> list[dict]:
    """The rows of a table recorded from the original programs; none where there is none."""
    path = goldens / "formats" / f"{name}.parquet"
    return pq.read_table(path, columns=columns).to_pylist() if path.is_file() else []


def music21_corpus() -> Path:
    """The folder of scores that music21 brings."""
    return Path(importlib.util.find_spec("music21").origin).parent / "corpus"


def source_of(row: dict) -> bytes | None:
    """The MusicXML file of a recorded row: stored there, or part of the installed music21."""
    if row.get("source"):
        return row["source"]
    path = music21_corpus() / row["corpus_path"]
    return path.read_bytes() if path.is_file() else None
