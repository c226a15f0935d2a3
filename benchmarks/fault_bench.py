"""What trials of faults are made of, and how a stage's end is judged.

No program: benchmarks/faults.py uses it.
"""

import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fault_jobs import Conditions, Outcome, Runner
from fault_stages import (
    Toy,
    differences,
    environment,
    half_folders,
    half_made,
    name_number,
    unaccounted,
)

PLAIN = Conditions()


class SkippedError(Exception):
    """Why a fault is not injected here."""


@dataclass
class Result:
    """What was seen of one stage under one fault."""

    stage: str
    fault: str
    trials: int = 0
    problems: list[str] = field(default_factory=list)
    failed: int = 0  # trials that ended with an error, as they should or may
    said: list[str] = field(default_factory=list)  # the error of each of these
    skipped: str = ""
    seconds: float = 0.0

    def cell(self) -> str:
        """ok, and how many of the trials ended with one clear error; what is wrong; or –."""
        if self.problems:
            return f"{len(self.problems)} wrong"
        if self.skipped or not self.trials:
            return "–"
        return (
            f"ok ({self.trials}, {self.failed} refused)" if self.failed else f"ok ({self.trials})"
        )

    def add(self, trial: str, problems: list[str]) -> None:
        self.trials += 1
        self.problems += [f"{trial}: {problem}" for problem in problems[:3]]


@dataclass
class Bench:
    """What trials are made of."""

    toy: Toy
    runner: Runner
    scratch: Path
    kills: int
    seed: int
    _undisturbed: dict = field(default_factory=dict)

    def dice(self, *names: object) -> random.Random:
        return random.Random(name_number(self.seed, *names))

    @contextmanager
    def place(self, stage: str, *, workflow: bool = False, name: str = "tree") -> Iterator[Path]:
        """A folder for one trial; gone afterwards."""
        folder = self.scratch / name
        try:
            yield self.toy.place(folder, stage, workflow=workflow)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def whole(self, stage: str) -> dict[str, bytes]:
        """The outputs of the stage as they should be."""
        return self.toy.outputs(stage)

    def seconds(self, stage: str) -> list[float]:
        """What each job of the stage takes here when nothing disturbs it."""
        if stage not in self._undisturbed:
            with self.place(stage) as tree:
                outcome = self.runner.run(tree, self.toy.jobs[stage])
                told = differences(tree, stage, self.whole(stage))
                if outcome.status or told:
                    raise RuntimeError(f"{stage}, undisturbed: {told[:5]} {outcome.said[-2000:]}")
                self._undisturbed[stage] = outcome.per_job
        return self._undisturbed[stage]

    def recovered(self, tree: Path, stage: str) -> list[str]:
        """What is wrong when the stage runs once more, without the fault."""
        outcome = self.runner.run(tree, self.toy.jobs[stage])
        if outcome.status:
            return [f"afterwards: status {outcome.status}: {last_line(outcome.said)}"]
        return [f"afterwards: {told}" for told in differences(tree, stage, self.whole(stage))]

    def disturbed(
        self,
        result: Result,
        stage: str,
        tree: Path,
        words: tuple[str, ...],
        conditions: Conditions = PLAIN,
        *,
        names: tuple[str, ...] = (),
    ) -> list[str]:
        """What is wrong with how the stage ends under a fault: it may end well, or refuse."""
        outcome = self.runner.run(tree, self.toy.jobs[stage], conditions)
        if outcome.status:
            result.failed += 1
            result.said += outcome.errors()[:1] or [last_line(outcome.said)]
        return self.judged(outcome, stage, tree, words, names)

    def judged(
        self,
        outcome: Outcome,
        stage: str,
        tree: Path,
        words: tuple[str, ...],
        names: tuple[str, ...],
    ) -> list[str]:
        whole = self.whole(stage)
        if outcome.status:
            told = unclear(outcome, tree, words, names)
            told += half_made(tree, stage, whole)
            return told + half_folders(tree, self.toy.jobs[stage], whole)
        told = [each for each in differences(tree, stage, whole) if "left behind" not in each]
        if not told:
            return []
        # The catalogue notes of a piece which of its files are there.
        if stage == "parse" or any("rejected" in name for name in told):
            return unaccounted(tree, stage, whole)
        if stage == "index" and "cannot be played" in outcome.said:
            return []  # a warning that names one
        return [f"ended well, but {each}" for each in told]


def unclear(
    outcome: Outcome, tree: Path, words: tuple[str, ...], names: tuple[str, ...]
) -> list[str]:
    """What is wrong with how a job said that it failed.

    One line of level ERROR, no traceback; it names a file, of `names` if there are any, and has
    one of the words; the log has it, too.
    """
    if outcome.job and outcome.job.script is None:
        return []  # a command of the shell, which speaks for itself
    errors, told = outcome.errors(), []
    if outcome.status == -signal.SIGABRT and "memory allocation of" in outcome.said:
        pass  # tokenizers end the process, and say why
    elif outcome.status < 0:
        told.append(f"ended by signal {-outcome.status}: {last_line(outcome.said)}")
    elif "fault of the program" in outcome.said or "Traceback" in outcome.said:
        told.append(f"traceback: {last_line(outcome.said)}")
    elif "OpenBLAS error: Memory allocation" in outcome.said:
        pass  # likewise
    elif len(errors) != 1:
        told.append(f"{len(errors)} errors: {last_line(outcome.said)}")
    else:
        (error,) = errors
        if not any(word in error.lower() for word in words):
            told.append(f"does not say what: {error}")
        if names and not any(name in error for name in names):
            told.append(f"does not name {names[0]}: {error}")
        if not names and "/" not in error and not re.match(r"clamp3: [^\s:]+: ", error):
            told.append(f"names no file: {error}")
        if outcome.job and outcome.job.log and not _has(tree / outcome.job.log, error):
            told.append(f"not in the log: {error}")
    return told


def _has(log: Path, error: str) -> bool:
    """Whether a log has the error; one that could not be written to is excused."""
    try:
        text = log.read_text(encoding="utf-8")
    except OSError:
        return True
    return error in text or not text


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing said)"


def one_of_each_kind(
    bench: Bench, stage: str, *names: object, suffixes: tuple[str, ...] = ("",)
) -> list[str]:
    """One input of every folder and suffix, by chance; of a model every file."""
    dice = bench.dice(*names, stage)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name in bench.toy.inputs(stage, *suffixes):
        path = Path(name)
        kind = path.name if path.parts[1] == "models" else path.suffix
        top = "/".join(path.parent.parts[:3])
        kinds.setdefault((top, kind, str("rejected" in name)), []).append(name)
    return [dice.choice(found) for _, found in sorted(kinds.items())]


def by_snakemake(bench: Bench, stage: str, tree: Path, **more: str) -> list[str]:
    """What is wrong when Snakemake runs the stage as `dvc repro` has it run."""
    process = start_snakemake(tree, stage, 1, **more)
    if process.wait():
        said = (tree.parent / "snakemake1.said").read_text(errors="replace")
        errors = [line for line in said.splitlines() if "rror" in line]
        return [f"status {process.returncode}: {(errors or [last_line(said)])[0][:300]}"]
    return differences(tree, stage, bench.whole(stage))


def start_snakemake(
    tree: Path, stage: str, number: int, *words: str, **more: str
) -> subprocess.Popen:
    """Snakemake at work on one stage; what it says goes to a file beside the tree."""
    with open(tree.parent / f"snakemake{number}.said", "w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--nolock", "--cores", "1", *words, stage],
            cwd=tree,
            env=environment(tree) | {"DVC_STAGE": stage} | more,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
