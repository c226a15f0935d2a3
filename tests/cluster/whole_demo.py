"""The whole demo through a real Slurm, its figures against those of the run in this checkout.

    make run test-long
    .venv/bin/python tests/cluster/whole_demo.py [FOLDER]

A second tree of this checkout, in which nothing is made, runs all stages as jobs, those that can
use a GPU with what passes for one, and stays in FOLDER if that is given. Every file below
results/metrics and results/evaluation must be the same in both, byte for byte; none holds a time.
Ends with status 1 and the first lines that differ otherwise, or with the end of Snakemake's log.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "workflow"))

import slurm
from cluster_tree import ClusterTree, site
from repository import ROOT
from trees import copy_of_workflow

FIGURES = ["results/metrics", "results/evaluation"]
OPTIONS = ["--profile", "profiles/slurm-gpu", "--jobs", "2"]  # on as many cores
SHOWN_LINES = 60


def figures(folder: Path) -> dict[str, bytes]:
    """{path: content} of all metrics and evaluations of a tree."""
    paths = sorted(path for top in FIGURES for path in (folder / top).rglob("*"))
    hidden = ".snakemake_timestamp"
    files = [path for path in paths if path.is_file() and path.name != hidden]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def differences(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """For each file that is not the same in both, where it first differs."""
    told = [f"{name}: not made on the cluster" for name in expected if name not in found]
    told += [f"{name}: made on the cluster alone" for name in found if name not in expected]
    for name in expected:
        if name in found and expected[name] != found[name]:
            told.append(f"{name}: {first_difference(expected[name], found[name])}")
    return told


def first_difference(expected: bytes, found: bytes) -> str:
    """The first line that differs, here and on the cluster."""
    lines = zip_longest(expected.splitlines(True), found.splitlines(True), fillvalue=b"")
    number, here, there = next(
        (number, here, there) for number, (here, there) in enumerate(lines, 1) if here != there
    )
    return f"line {number}\n  here           {here[:300]!r}\n  on the cluster {there[:300]!r}"


def second_tree(folder: Path, path: str) -> ClusterTree:
    """What Git knows of this checkout, its profiles edited for the Slurm of the tests."""
    copy_of_workflow(folder)
    tree = ClusterTree(folder)
    tree.slurm = path
    tree = tree.other(folder)
    site(tree)
    tree.change("cores: 2 # 3", r"cores: \d+ # 3", "profiles/slurm/config.yaml")
    return tree


def run(tree: ClusterTree) -> str:
    """Run all stages as jobs; why that failed, or nothing."""
    process = tree.start_submitting(*OPTIONS, PYTHONPATH=str(tree.folder), HF_HUB_OFFLINE="1")
    try:
        status = process.wait()
    finally:
        process.kill()
    last = "\n".join(tree.said().splitlines()[-SHOWN_LINES:])
    return f"{last}\nSnakemake ended with status {status}" if status else ""


def table(tree: ClusterTree, seconds: float) -> str:
    """The jobs by rule and by state."""
    jobs = tree.jobs()
    rules = Counter(job.rule for job in jobs)
    states = Counter(job.state for job in jobs)
    gpus = sum(job.gpus != "N/A" for job in jobs)
    lines = [f"{count:5}  {rule}" for rule, count in rules.items()]
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    return "\n".join([*lines, f"{len(jobs)} jobs, {gpus} with a GPU: {told}; {seconds:.0f} s"])


def main(folder: Path) -> str:
    """Why the two runs are not the same, or nothing."""
    expected = figures(ROOT)
    if not expected:
        return f"no finished run in {ROOT}: make run"
    with slurm.running(folder / "s") as cluster:
        tree = second_tree(folder / "tree", cluster.path)
        print(f"log: {tree.folder}.log", flush=True)
        started = time.monotonic()
        failure = run(tree)
        print(table(tree, time.monotonic() - started), flush=True)
    if failure:
        return failure
    different = differences(expected, figures(tree.folder))
    total = f"{len(expected)} files of {' and '.join(FIGURES)} compared"
    if different:
        return "\n".join([*different, f"{total}, {len(different)} differ"])
    print(f"{total}: the same, byte for byte")
    return ""


if __name__ == "__main__":
    if reason := slurm.install():
        print(f"skipped: {reason}")
    elif len(sys.argv) > 1:
        os.makedirs(sys.argv[1])
        sys.exit(main(Path(sys.argv[1]).absolute()) or 0)
    else:
        with tempfile.TemporaryDirectory(prefix="slurm-") as temporary:
            sys.exit(main(Path(temporary)) or 0)
