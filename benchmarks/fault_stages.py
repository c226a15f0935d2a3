"""Stages of a pipeline of toy size, each in a folder of its own with just what it reads.

No program: benchmarks/faults.py uses it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from safetensors import safe_open

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "workflow")]

CONTRACT = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
INPUTS = {"${corpus.folder}": "data/demo", "${clamp3.start}": "results/models/m3"}
INPUTS["${clamp2.start}"] = INPUTS["${clamp3.start}"]
LAST = {"results/index": "index.json"}
STAMP = ".snakemake_timestamp"


class Job(NamedTuple):
    """One job of a stage as Snakemake runs it, from the root of the tree."""

    rule: str
    command: str
    outputs: tuple[str, ...]

    @property
    def script(self) -> list[str] | None:
        """The words after `python`; None for a job of the shell alone."""
        begin = re.match(r"exec (?:python|\S+ -m \S+ \S+) (?=workflow/scripts/)", self.command)
        return shlex.split(self.command[begin.end() :]) if begin else None

    @property
    def log(self) -> str | None:
        """The log file that the command names."""
        words = self.script or []
        return words[words.index("--log") + 1] if "--log" in words else None


class Toy:
    """A finished pipeline of toy size, and the jobs of its stages."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.jobs: dict[str, list[Job]] = json.loads(
            (folder / "jobs.json").read_text(), object_hook=_as_jobs
        )

    @classmethod
    def made(cls, folder: Path, stages: Iterable[str]) -> "Toy":
        """The one in `folder`, begun of what Git carries where there is none, with these stages."""
        if not (folder / "jobs.json").exists():
            from test_pipeline import copy_of_repository

            folder.mkdir(parents=True)
            copy_of_repository(folder)
            (folder / "jobs.json").write_text(json.dumps(_list_jobs(folder)))
        missing = [
            stage for stage in stages if not all((folder / out).exists() for out in outs(stage))
        ]
        if missing:
            snakemake(folder, "--cores", "1", *missing)
        return cls(folder)

    def reads(self, stage: str) -> list[str]:
        """The data that dvc.yaml lists for a stage."""
        deps = [INPUTS.get(dep, dep) for dep in CONTRACT[stage]["deps"]]
        return [dep for dep in deps if dep.startswith(("data/", "results/"))]

    def inputs(self, stage: str, *suffixes: str) -> list[str]:
        """The files of these suffixes that a stage reads."""
        found = sorted(_files(self.folder, self.reads(stage)))
        return [name for name in found if name.endswith(suffixes)]

    def outputs(self, stage: str) -> dict[str, bytes]:
        """{path: content} of what the stage makes when nothing disturbs it."""
        return contents(self.folder, outs(stage))

    def place(self, folder: Path, stage: str, *, workflow: bool = False) -> Path:
        """A folder with what the stage reads, and the workflow too where Snakemake is to run."""
        folder.mkdir(parents=True, exist_ok=True)
        names = self.reads(stage)
        names += ["Snakefile", "dvc.yaml", "params.yaml", "workflow", "clamp3"] * workflow
        names += ["profiles"] * workflow
        for name in names:
            source, target = self.folder / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy2(source, target)
        return folder


def outs(stage: str) -> list[str]:
    """The outputs that dvc.yaml lists for a stage."""
    items = [i for kind in ("outs", "metrics", "plots") for i in CONTRACT[stage].get(kind, [])]
    return [path for item in items for path in ([item] if isinstance(item, str) else item)]


def contents(folder: Path, tops: Iterable[str]) -> dict[str, bytes]:
    """{path in the folder: bytes} of all files there."""
    return {name: (folder / name).read_bytes() for name in _files(folder, tops)}


def _files(folder: Path, tops: Iterable[str]) -> Iterator[str]:
    for top in dict.fromkeys(tops):
        for path in [folder / top, *(folder / top).rglob("*")]:
            if path.is_file() and path.name != STAMP:
                yield path.relative_to(folder).as_posix()


def environment(tree: Path | None = None) -> dict[str, str]:
    """Without the settings of the person who runs this; the tree's own package comes first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(tree or ROOT), "HF_HUB_OFFLINE": "1"}


def snakemake(tree: Path, *words: str, **more: str) -> str:
    """The output of a Snakemake run that must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words],
        cwd=tree,
        env=environment(tree) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stdout}")
    return done.stdout


def _list_jobs(tree: Path) -> dict[str, list[dict]]:
    """The jobs of every stage in the order in which they run, from what Snakemake would do."""
    told = snakemake(tree, "-nFp", "--quiet", "host", "--cores", "1", "all")
    stage_of = {
        rule: stage
        for stage in CONTRACT
        for rule in re.findall(
            r"(?m)^rule (\w+):", (tree / f"workflow/rules/{stage}.smk").read_text()
        )
    }
    jobs: dict[str, list[dict]] = {stage: [] for stage in CONTRACT}
    for block in re.split(r"(?m)^(?= *(?:local)?rule \w+:$)", told):
        rule = re.search(r"(?m)^ *(?:local)?rule (\w+):", block)
        command = re.search(r"(?m)^Shell command: (.+)$", block)
        outputs = re.search(r"(?m)^ +output: (.+)$", block)
        if rule and command and outputs:  # a stage's target has none
            job = {"rule": rule[1], "command": command[1], "outputs": outputs[1].split(", ")}
            jobs[stage_of[rule[1]]].append(job)
    return jobs


def _as_jobs(value: dict) -> object:
    if "command" in value:
        return Job(value["rule"], value["command"], tuple(value["outputs"]))
    return value


# What is in place


def damage(path: Path) -> str | None:
    """What is wrong with a file by its format; None for a whole one."""
    try:
        match path.suffix:
            case ".parquet":
                with pq.ParquetFile(path, page_checksum_verification=True) as file:
                    file.read()
            case ".safetensors":
                with safe_open(path, "numpy") as file:
                    [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
            case ".json":
                json.loads(path.read_text(encoding="utf-8"))
            case ".jsonl":
                [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            case ".html":
                if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
                    return "ends before </html>"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def half_made(tree: Path, stage: str, whole: dict[str, bytes]) -> list[str]:
    """Outputs in place that are neither what they should be nor whole by their format.

    A folder that one job makes as a whole must have all of its files.
    """
    found = contents(tree, outs(stage))
    wrong = []
    for name in _visible(found):
        if found[name] != whole.get(name):
            told = damage(tree / name)
            if told or name not in whole:
                wrong.append(f"half output {name}: {told or 'not one of the outputs'}")
    return wrong


def half_folders(tree: Path, jobs: Iterable[Job], whole: dict[str, bytes]) -> list[str]:
    """Folders in place, of those that one job makes as a whole, that lack some of their files.

    Some are filled in place, and are nothing to anybody before their last file.
    """
    wrong = []
    for folder in {name for job in jobs if job.script for name in job.outputs}:
        if (tree / folder).is_dir() and (tree / folder / LAST.get(folder, "")).exists():
            missing = [
                name
                for name in whole
                if name.startswith(f"{folder}/") and not (tree / name).exists()
            ]
            if missing:
                wrong.append(f"half output {folder}: without {Path(missing[0]).name}")
    return sorted(wrong)


def differences(tree: Path, stage: str, whole: dict[str, bytes]) -> list[str]:
    """What the outputs in place and those of an undisturbed run do not share."""
    found = contents(tree, outs(stage))
    told = [f"missing {name}" for name in whole if name not in found]
    told += [
        f"differs {name}" for name in _visible(whole) if found.get(name, whole[name]) != whole[name]
    ]
    told += [f"left behind {name}" for name in found if name not in whole]
    return told


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if not any(part[0] == "." for part in Path(name).parts)]


def unaccounted(tree: Path, stage: str, whole: dict[str, bytes]) -> list[str]:
    """Pieces of the undisturbed tables that are neither in the tables in place nor rejected.

    Where a list of pieces is damaged, lines that cannot be read are rejected by their number.
    """
    wanted, there = _ids(whole), _ids(contents(tree, outs(stage)))
    lost, told = sorted(wanted - there), there - wanted
    return [f"{len(lost)} pieces lost, for example {lost[0]}"] if lost and not told else []


def _ids(files: dict[str, bytes]) -> set[str]:
    """All that the `id` columns of some tables name."""
    found: set[str] = set()
    for name, data in files.items():
        if name.endswith(".parquet"):
            try:
                table = pq.read_table(pa.BufferReader(data))
            except pa.ArrowException:
                continue
            if "id" in table.column_names:
                found |= {*map(str, table["id"].to_pylist())}
    return found


def name_number(*parts: object) -> int:
    """A seed of some words and numbers, the same in every process."""
    return zlib.crc32(repr(parts).encode())
