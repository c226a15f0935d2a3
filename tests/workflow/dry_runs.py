"""What both tools would run under many changes of params.yaml, at the price of one start.

    python dry_runs.py [name …] < changes.json > answers.json

`changes` is {name: values laid over params.yaml}. `snakemake` in the answers is {name: what a dry
run said}, `dvc` {name: the stages that DVC calls changed}, this for one name of each section and
for those given as arguments. Snakemake answers in forks of a process that has run it once.
"""

import json
import os
import sys
from pathlib import Path

import yaml
from dvc.repo import Repo
from snakemake.cli import main as snakemake
from snakemake.utils import update_config

FOLDER = Path(".snakemake/dry_runs")
ARGUMENTS = ["--dry-run", "--cores", "2", "--quiet", "host", "--configfile"]


def ask_snakemake(path):
    """Let Snakemake write to `path` what it would run with `path.json` laid over params.yaml."""
    with open(path, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            snakemake([*ARGUMENTS, f"{path}.json"])
        except SystemExit:
            pass
        finally:
            sys.stdout.flush()


def ask_snakemake_about(versions):
    """{name: what Snakemake said}, two at a time."""
    paths = {name: FOLDER / str(number) for number, name in enumerate(versions)}
    running = []
    for name, path in paths.items():
        Path(f"{path}.json").write_text(json.dumps(versions[name]))
        if len(running) == 2:
            os.waitpid(running.pop(0), 0)
        running.append(os.fork())
        if not running[-1]:
            ask_snakemake(path)
            os._exit(0)
    for child in running:
        os.waitpid(child, 0)
    return {name: path.read_text() for name, path in paths.items()}


def ask_dvc_about(versions):
    """{name: the stages that are not up to date}."""
    params, answers = Path("params.yaml").read_text(), {}
    for name, changes in versions.items():
        values = yaml.safe_load(params)
        update_config(values, changes)
        Path("params.yaml").write_text(yaml.safe_dump(values))
        with Repo() as repo:
            answers[name] = list(repo.status())
    return answers


if __name__ == "__main__":
    FOLDER.mkdir(parents=True)
    answers_to = os.dup(1)
    versions = json.load(sys.stdin)
    one_of_each = {name.split(".")[0]: name for name in versions}
    asked = {*one_of_each.values(), *sys.argv[1:]}
    (FOLDER / "warm.json").write_text("{}")
    ask_snakemake(FOLDER / "warm")
    answers = {
        "snakemake": ask_snakemake_about(versions),
        "dvc": ask_dvc_about({name: versions[name] for name in versions if name in asked}),
    }
    with open(answers_to, "w") as file:
        json.dump(answers, file)
