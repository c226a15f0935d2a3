"""Print what a run made: time per stage, held-out figures with chance beside them."""

import csv
from pathlib import Path

from clamp3.retrieval.evaluation.comparison import summary

TIMINGS = Path("logs/timings")
COMPARISON = Path("results/evaluation/comparison.json")


def rule_seconds() -> dict[str, tuple[int, float]]:
    """Jobs and summed seconds of every rule, from Snakemake's benchmark files."""
    found: dict[str, tuple[int, float]] = {}
    for path in sorted(TIMINGS.rglob("*.tsv")):
        rule = path.relative_to(TIMINGS).parts[0].removesuffix(".tsv")
        with open(path, encoding="utf-8") as lines:
            spent = sum(float(row["s"]) for row in csv.DictReader(lines, delimiter="\t"))
        jobs, seconds = found.get(rule, (0, 0.0))
        found[rule] = (jobs + 1, seconds + spent)
    return found


if __name__ == "__main__":
    print("\nseconds  jobs  rule")
    for rule, (jobs, seconds) in rule_seconds().items():
        print(f"{seconds:7.1f}  {jobs:4d}  {rule}")
    if COMPARISON.exists():
        told = "The report: results/report.html. In the environment, to search: clamp3 serve"
        print("", *summary(COMPARISON), "", told, sep="\n")
