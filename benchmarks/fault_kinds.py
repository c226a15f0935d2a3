"""Kills, twins and surroundings, and the list of all faults that are injected.

No program: benchmarks/faults.py uses it.
"""

import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

from fault_bench import (
    PLAIN,
    Bench,
    Result,
    by_snakemake,
    last_line,
    start_snakemake,
    unclear,
)
from fault_disks import full_disk, no_permission, read_only
from fault_inputs import corrupt_lists, corrupt_parquet, corrupt_state, corrupt_weights, vanish
from fault_jobs import Conditions, Outcome, end, make_way
from fault_stages import (
    STAMP,
    Job,
    contents,
    differences,
    half_folders,
    half_made,
    outs,
)

LONG = ("abc", "mtf", "audio", "m3", "clamp3", "lora", "embed", "clamp2")
LONG += ("clap_text", "clap_heads", "clap_musicgen")
ODD = "müsic – 音 楽"
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
# In results/resume/ on purpose: weights of epochs, and a cache that the stages share.
KEPT = (STAMP, "-weights", "results/resume/music", "index/.lock", "/.gitignore")


def kill(bench: Bench, stage: str, result: Result) -> None:
    """SIGKILL at random moments, up to four times on the way to the end."""
    dice = bench.dice("kill", stage)
    wanted = bench.kills if stage in LONG else max(1, bench.kills // 10)
    jobs, seconds, whole = bench.toy.jobs[stage], bench.seconds(stage), bench.whole(stage)
    attempts = 0
    while result.trials < wanted and attempts < 20 + 4 * wanted:
        with bench.place(stage) as tree:
            at, several = 0, dice.randint(1, 4)
            for _ in range(several):
                attempts += 1
                moment = dice.uniform(0, sum(seconds[at:]))
                outcome = bench.runner.run(tree, jobs[at:], kill_after=moment)
                if not outcome.killed:
                    break
                at = jobs.index(outcome.job)
                told = half_made(tree, stage, whole) + half_folders(tree, jobs, whole)
                result.add(f"killed after {moment:.2f} s", told)
            outcome = bench.runner.run(tree, jobs[at:])
            told = [f"status {outcome.status}: {last_line(outcome.said)}"] * bool(outcome.status)
            result.problems += (told or differences(tree, stage, whole))[:3]
            result.problems += litter(tree, stage)


def litter(tree: Path, stage: str) -> list[str]:
    """Drafts and resume folders that are left when a stage is finished."""
    found = [path for top in ("data", "results") for path in (tree / top).rglob(".*")]
    found += (tree / "results" / "resume").glob("*")
    names = sorted(path.relative_to(tree).as_posix() for path in found)
    kept = [name for name in names if not name.endswith(KEPT)]
    return [f"litter: {', '.join(kept[:3])}"] if kept else []


def twice(bench: Bench, stage: str, result: Result) -> None:
    """Every job two times at once; then Snakemake two times at once."""
    with bench.place(stage) as tree:
        told = []
        for job in bench.toy.jobs[stage]:
            told += _job_twice(bench, tree, job, result)
        if stage == "index":  # the second replaces the first, under the names of a generation 2
            shutil.rmtree(tree / "results" / "index")
        else:
            told += differences(tree, stage, bench.whole(stage))
        result.add("two jobs at once", told or bench.recovered(tree, stage))
    with bench.place(stage, workflow=True) as tree:
        both = [start_snakemake(tree, stage, number) for number in (1, 2)]
        codes = [process.wait() for process in both]
        said = [(tree.parent / f"snakemake{number}.said").read_text() for number in (1, 2)]
        told = [] if 0 in codes else [f"status {codes}: {last_line(said[0])}"]
        for code, text in zip(codes, said, strict=True):
            if code and "running Snakemake in this folder" not in text:
                told.append(f"refused with: {last_line(text)}")
        result.failed += any(codes)
        result.add("two Snakemakes at once", told + differences(tree, stage, bench.whole(stage)))


def _job_twice(bench: Bench, tree: Path, job: Job, result: Result) -> list[str]:
    if job.script is None:
        bench.runner.run(tree, [job])
        return []
    make_way(tree, job)
    files = [tree.parent / f"{number}.said" for number in (1, 2)]
    both = [bench.runner.start(tree, job, file, PLAIN) for file in files]
    for process in both:
        process.join(300)
        end(process)
    outcomes = [
        Outcome(process.exitcode, job, file.read_text())
        for process, file in zip(both, files, strict=True)
    ]
    failed = [outcome for outcome in outcomes if outcome.status]
    result.failed += len(failed)
    told = [each for outcome in failed for each in unclear(outcome, tree, ("another",), ())]
    return told + ["both failed"] * (len(failed) == 2)


# Surroundings


def memory(bench: Bench, stage: str, result: Result) -> None:
    """1 GB, which is enough at this size; then 8 and 40 MB more than a job begins with."""
    for limit in (1024, -8, -40):
        with bench.place(stage) as tree:
            told = bench.disturbed(
                result, stage, tree, ("memory",), Conditions(data_mb=limit), names=("memory",)
            )
            if limit > 0 and result.failed:
                told.append("does not fit")
            result.add(f"{limit} MB", told + bench.recovered(tree, stage))


def umask(bench: Bench, stage: str, result: Result) -> None:
    """Files for nobody else."""
    with bench.place(stage) as tree:
        told = bench.disturbed(result, stage, tree, (), Conditions(umask=0o077))
        open_files = [
            name
            for name in contents(tree, outs(stage))
            if stat.S_IMODE((tree / name).stat().st_mode) & 0o077
        ]
        told += [f"others may read {name}" for name in open_files[:2]]
        result.add("umask 077", told)


def clock(bench: Bench, stage: str, result: Result) -> None:
    """A clock that runs backwards; then inputs from tomorrow, which Snakemake refuses to use."""
    with bench.place(stage) as tree:
        told = bench.disturbed(result, stage, tree, (), Conditions(clock=True))
        result.add("clock backwards", ["failed"] * result.failed + told)
    with bench.place(stage, workflow=True) as tree:
        date_inputs(tree, time.time() + 86400)
        told = by_snakemake(bench, stage, tree)
        said = (tree.parent / "snakemake1.said").read_text()
        if "This could indicate a clock skew problem" in said:
            result.failed += 1
            date_inputs(tree, time.time())
            told = by_snakemake(bench, stage, tree)
        result.add("inputs from tomorrow", told)


def date_inputs(tree: Path, seconds: float) -> None:
    for top in ("data", "results"):
        for path in (tree / top).rglob("*"):
            os.utime(path, (seconds, seconds))


def locale(bench: Bench, stage: str, result: Result) -> None:
    """A locale that knows ASCII alone, which Python mends; then a Python that may not."""
    for name, changes in (("LC_ALL=C", {"LC_ALL": "C"}), ("only ASCII", ASCII)):
        with bench.place(stage, workflow=True) as tree:
            result.add(name, by_snakemake(bench, stage, tree, **changes))


def paths(bench: Bench, stage: str, result: Result) -> None:
    """A folder whose name has spaces and letters of several scripts."""
    with bench.place(stage, workflow=True, name=ODD) as tree:
        result.add(ODD, by_snakemake(bench, stage, tree))


FAULTS: dict[str, Callable[[Bench, str, Result], None]] = {
    "kill": kill,
    "full_disk": full_disk,
    "read_only": read_only,
    "no_permission": no_permission,
    "vanish": vanish,
    "twice": twice,
    "corrupt_parquet": corrupt_parquet,
    "corrupt_weights": corrupt_weights,
    "corrupt_lists": corrupt_lists,
    "corrupt_state": corrupt_state,
    "memory": memory,
    "umask": umask,
    "clock": clock,
    "locale": locale,
    "paths": paths,
}
