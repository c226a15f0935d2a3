"""What it takes before anything is done: the command, the package, and each rule's script.

    python benchmarks/startup.py [--timings logs/timings]

CPU seconds of `clamp3 --help` (at most 0.3) and `import clamp3` (at most 0.2), the best of some
rounds, and of the imports of every script in workflow/scripts/. With the timings that a run of the
pipeline leaves: by stage, how much of its jobs' seconds that is, and which packages take it.
"""

import argparse
import csv
import re
import subprocess
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path

from measuring import ROOT, best_seconds, children_seconds

SCRIPTS = ROOT / "workflow" / "scripts"
ROUNDS = 3
MOST_SHARE = 0.1
# Their own time is told with all that they import.
HEAVY = ("torch", "transformers", "accelerate", "peft", "sklearn", "matplotlib", "music21", "numba")
HEAVY += ("pyarrow", "numpy", "pydantic", "scipy", "pandas", "safetensors", "soxr", "tokenizers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--timings", type=Path, help="logs/timings of a finished run")
    options = parser.parse_args()
    print(f"{'':44}{'CPU s':>7}")
    print(f"{'clamp3 --help':44}{cpu_seconds('-m', 'clamp3', '--help'):7.2f}")
    print(f"{'import clamp3':44}{cpu_seconds('-c', 'import clamp3'):7.2f}")
    if options.timings is None:
        for script in sorted(SCRIPTS.glob("*.py")):
            print(f"{script.name:44}{script_seconds(script.name):7.2f}", flush=True)
    else:
        print_stages(options.timings)


def cpu_seconds(*words: str, rounds: int = ROUNDS) -> float:
    """The least CPU time of a new Python, of some rounds."""
    command = [sys.executable, *words]
    start = partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return best_seconds(start, rounds, children_seconds)


def script_seconds(name: str) -> float:
    """The CPU time of a script's imports."""
    return cpu_seconds("-c", imports_of(SCRIPTS / name), rounds=1)


def imports_of(script: Path) -> str:
    """A program that loads a script without running it."""
    return f"import runpy; runpy.run_path({str(script)!r}, run_name='imports')"


def print_stages(timings: Path) -> None:
    """The share of start-up in each rule file's jobs, most first."""
    known: dict[str, float] = {}
    rows = []
    for stage, rules in scripts_by_rule().items():
        jobs, wall, start = 0, 0.0, 0.0
        for rule, script in rules.items():
            seconds = seconds_of_jobs(timings, rule)
            if seconds and script not in known:
                known[script] = script_seconds(script)
            jobs, wall = jobs + len(seconds), wall + sum(seconds)
            start += len(seconds) * known.get(script, 0)
        if jobs:
            rows.append((start / wall, stage, jobs, wall, start, set(rules.values())))
    print(f"\n{'stage':18}{'jobs':>6}{'s':>9}{'start-up s':>12}{'share':>7}  what is imported, s")
    for share, stage, jobs, wall, start, scripts in sorted(rows, reverse=True):
        cause = heaviest(max(scripts, key=lambda s: known.get(s, 0))) if share > MOST_SHARE else ""
        print(f"{stage:18}{jobs:6}{wall:9.1f}{start:12.1f}{share:7.0%}  {cause}", flush=True)


def scripts_by_rule() -> dict[str, dict[str, str]]:
    """For each rule file its rules with timings, and the script that each runs."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for text in re.split(r"^rule ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            timing = re.search(r"logs/timings/(\w+)", text)
            script = re.search(r"workflow/scripts/(\w+\.py)", text)
            if timing and script:
                found[path.stem][timing[1]] = script[1]
    return found


def seconds_of_jobs(timings: Path, rule: str) -> list[float]:
    """How long each job of a rule took."""
    files = [timings / f"{rule}.tsv", *sorted((timings / rule).rglob("*.tsv"))]
    rows = []
    for path in filter(Path.is_file, files):
        with open(path, encoding="utf-8") as lines:
            rows += csv.DictReader(lines, delimiter="\t")
    return [float(row["s"]) for row in rows]


def heaviest(script: str) -> str:
    """The packages that a script's imports spend most time in, with what these import."""
    words = [sys.executable, "-X", "importtime", "-c", imports_of(SCRIPTS / script)]
    told = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stderr
    spent: dict[str, float] = {}
    for line in told.splitlines():
        match = re.fullmatch(r"import time: +\d+ \| +(\d+) \| +([\w.]+)", line)
        if match and match[2] in HEAVY:
            spent[match[2]] = int(match[1]) / 1e6
    most = sorted(spent.items(), key=lambda pair: -pair[1])[:4]
    return f"{script}: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in most)


if __name__ == "__main__":
    main()
