"""What every stage of the pipeline makes of faults around it.

    python benchmarks/faults.py [--stages m3 …] [--faults kill …] [--kills 100] [--seed 0]

A pipeline of toy size is made once; for every trial the inputs of one stage are copied and the
stage is run under a fault. Checked are the exit status; that there is exactly one error, that it
names a file and the likely mistake, and that the log says the same; that no half output stands
under its final name; that pieces are accounted for; and that the same command, once the fault is
gone, ends with outputs that are those of an undisturbed run, byte for byte. Prints a table, stage
by fault, and what was wrong; status 1 if anything was. What is done lies in `--folder` and is not
done again. Full disks and other users need root: without it they are made as far as they can be.

Takes about an hour on one core as root.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from fault_bench import Bench, Result, SkippedError
from fault_jobs import Runner
from fault_kinds import FAULTS
from fault_stages import CONTRACT, Toy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = Path(tempfile.gettempdir()) / "clamp3-faults"
    parser.add_argument("--folder", type=Path, default=default, help="of the toy and the results")
    parser.add_argument("--stages", nargs="+", choices=list(CONTRACT), default=list(CONTRACT))
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--kills", type=int, default=100, help="of a long stage; others: a tenth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="what is done already, too")
    parser.add_argument("--said", action="store_true", help="print what the refusals said")
    parser.add_argument("--table", action="store_true", help="print what is done, do nothing")
    options = parser.parse_args()
    record = Record(options.folder / "done.jsonl")
    cells = [(stage, fault) for fault in options.faults for stage in options.stages]
    if not options.table:
        todo = [cell for cell in cells if options.again or cell not in record.results]
        if todo:
            inject(todo, options, record)
    return print_table(options.stages, options.faults, record.results, said=options.said)


class Record:
    """Results of earlier runs and of this one: one line each, the last of a kind counts."""

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = map(json.loads, lines)
        self.results = {(row["stage"], row["fault"]): Result(**row) for row in rows}

    def add(self, result: Result) -> None:
        self.results[result.stage, result.fault] = result
        with open(self.path, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(vars(result), ensure_ascii=False) + "\n")


def inject(cells: list[tuple[str, str]], options: argparse.Namespace, record: Record) -> None:
    """Do the trials of all cells of the table."""
    options.folder.mkdir(parents=True, exist_ok=True)
    toy = Toy.made(options.folder / "toy", dict.fromkeys(stage for stage, _ in cells))
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="trial-") as scratch:
        os.chmod(scratch, 0o755)  # noqa: S103 (another user comes through it)
        bench = Bench(toy, Runner(), Path(scratch), kills=options.kills, seed=options.seed)
        for stage, fault in cells:
            begin = time.monotonic()
            result = Result(stage, fault)
            try:
                FAULTS[fault](bench, stage, result)
            except SkippedError as reason:
                result.skipped = str(reason)
            result.seconds = round(time.monotonic() - begin, 1)
            record.add(result)
            print(f"{fault:16}{stage:16}{result.seconds:7.1f} s  {result.cell()}", flush=True)
            for problem in result.problems:
                print(f"    {problem}", flush=True)


def print_table(
    stages: list[str],
    faults: list[str],
    results: dict[tuple[str, str], Result],
    *,
    said: bool,
) -> int:
    """The table in Markdown, then what was wrong; 1 if anything was."""
    print("\n| stage |", " | ".join(faults), "|")
    print("|---|" + "---|" * len(faults))
    for stage in stages:
        row = [results.get((stage, fault)) for fault in faults]
        print(f"| {stage} |", " | ".join(each.cell() if each else "" for each in row), "|")
    found = [result for result in results.values() if result.fault in faults]
    found = [result for result in found if result.stage in stages]
    for result in found:
        for problem in result.problems:
            print(f"{result.stage}, {result.fault}: {problem}")
        for error in dict.fromkeys(result.said if said else []):
            print(f"{result.stage}, {result.fault} said: {error}")
    for reason in dict.fromkeys(result.skipped for result in found if result.skipped):
        print(f"–: {reason}")
    trials = sum(result.trials for result in found)
    failed = sum(bool(result.problems) for result in found)
    print(f"{trials} trials in {len(found)} cells, {failed} of them not ok")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
