# Shared by the files beside it: the contract, parameters, paths and input functions.
import hashlib
import json
import math
import os
import sys
import time
from functools import lru_cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.persistence.file import FilePersistence
from snakemake.utils import validate

sys.path.insert(0, f"{workflow.basedir}/workflow")
from clamp3.config import LAYOUTS, Params, check
from clamp3.errors import ConfigError
from clamp3.data.raw_files.addresses import is_remote, parent, watched
import outlived
from dvc_bridge import Bridge, digest, is_wanted
from work_tree import Plan, begin, clear_stale_lock, is_running

try:
    check(Params, config, PARAMS_FILE)  # in one line, and what no schema can say
except ConfigError as error:
    raise WorkflowError(str(error)) from error
validate(config, schema="../schemas/params.schema.json", set_default=False)

# Written in C, where PyYAML has it: every command reads these files.
FAST_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Which parameters and code a stage depends on is said in dvc.yaml and read from there.
CONTRACT = yaml.load(
    (Path(workflow.basedir) / "dvc.yaml").read_text("utf-8"), FAST_YAML
)["stages"]
UNDER_DVC = os.getenv("DVC_STAGE")  # DVC sets it to the stage it runs
ACTIVE_STAGES = UNDER_DVC.split() if UNDER_DVC else list(CONTRACT)

N = config["shards"]
PARTS = [f"part-{i:05d}-of-{N:05d}" for i in range(N)]
CATALOG = expand("data/catalog/{part}.parquet", part=PARTS)
CORPUS = config["corpus"]["folder"].rstrip("/")
IS_RENDERED = config["audio"]["source"] == "render"
RECORDINGS = "data/recordings" if IS_RENDERED else config["audio"]["folder"]
MADE_MUSICGEN = "data/musicgen"
# A MusicGen on the hub is no file.
MUSICGEN = [
    path
    for path in [config["codes"]["musicgen"]]
    if path == MADE_MUSICGEN or Path(path).exists()
]
# Data sets besides PDMX: where each lies, and the modality of its pieces.
GIVEN = config["parse"]["collections"]
COLLECTIONS = ["pdmx", *GIVEN]
# Stores that one job writes, listing and all: the folder is its output.
ONE_JOB = ["interleaved"]
# What is in an archive changes with it; what is elsewhere cannot be watched (data/README.md).
MIDI_FOLDERS = [
    folder
    for address in (
        f"{CORPUS}/mid",
        *(
            f"{parent(given['path'])}/lmd_full"
            for given in GIVEN.values()
            if given["layout"] == "midicaps"
        ),
    )
    for folder in watched(address)
]
# Further attempts of a job whose files are elsewhere: a network may come back.
GIVEN_PLACES = [CORPUS, RECORDINGS or "", *(given["path"] for given in GIVEN.values())]
NETWORK_TRIES = 2 if any(map(is_remote, GIVEN_PLACES)) else 0
CLAMP3_STAGES = list(config["clamp3"]["stages"])
# CLaMP 2's manifests are a person's own, train.jsonl at least, or made of those of scores and
# performances.
CLAMP2_GIVEN = [
    path
    for folder in [config["clamp2"]["manifests"]]
    if folder
    for split in ("train", "validation", "test")
    for path in [f"{folder}/{split}.jsonl"]
    if split == "train" or Path(path).exists()
]
MODALITIES = {"pdmx": ["abc", "mtf", "audio"]} | {
    name: [LAYOUTS[given["layout"]]] for name, given in GIVEN.items()
}


def given(paths, made, later="."):
    """What a person gave for `made`, without what is not there and was not there before.

    Where an input is missing, Snakemake keeps what there is of it, or of what is made of that
    (`later`). That is right if it was made from that input; else the job has to run, and says what
    is missing.
    """
    if not (Path(made).exists() or Path(later).exists()):
        return paths
    notes = FilePersistence(path=Path(".snakemake").absolute())
    note = notes._read_record(made) if Path(made).exists() else None
    before = note.input if note else []
    return [
        path for path in paths if path in before or Path(path).exists() or is_made(path)
    ]


def is_made(path):
    """Whether a stage makes it."""
    return any(Path(path).is_relative_to(out) for outs in OUTS.values() for out in outs)


def stage_params(stage, values=config):
    """The parameters that dvc.yaml lists for the stage, and no others, as JSON."""
    return json.dumps(
        {key: values[key] for key in CONTRACT[stage]["params"]}, sort_keys=True
    )


def stage_code(stage):
    """The code that dvc.yaml lists for the stage: every file with a hash of its content."""
    listed = [Path(dep) for dep in CONTRACT[stage]["deps"] if is_code(dep)]
    files = [path for each in listed for path in code_files(each)]
    return [
        f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" for path in files
    ]


def code_files(path):
    """A file of code itself; in a folder all modules, and the data beside them."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in (".py", ".yaml"))


def is_code(dependency):
    """Whether a dependency in dvc.yaml is code rather than data."""
    return dependency.startswith(("clamp3/", "workflow/"))


def stage_outs(stage):
    """The outputs that dvc.yaml lists for the stage, with and without settings."""
    items = [
        item
        for kind in ("outs", "metrics", "plots")
        for item in CONTRACT[stage].get(kind, [])
    ]
    return [
        Path(path)
        for item in items
        for path in ([item] if isinstance(item, str) else item)
    ]


OUTS = {stage: stage_outs(stage) for stage in CONTRACT}
BRIDGE = Bridge(OUTS) if workflow.is_main_process and is_wanted() else None
STARTED = {
    "seconds": time.time(),
    "code": {stage: stage_code(stage) for stage in ACTIVE_STAGES},
}
MADE_FROM = {
    stage: digest(f"{stage_params(stage)}\n{code}".encode())
    for stage, code in STARTED["code"].items()
}


def plan():
    """The run's jobs by stage."""
    return Plan(
        workflow.dag,
        OUTS,
        {stage: getattr(rules, stage).input for stage in ACTIVE_STAGES},
    )


def record_finished():
    """Tell DVC of the stages that are finished, if they are what dvc.yaml now asks for."""
    if BRIDGE and os.getenv("DVC_BRIDGE") != "adopt":
        now = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
        BRIDGE.record(
            [stage for stage in plan().finished() if is_as_started(stage, now)]
        )


def is_as_started(stage, values):
    """Whether parameters and code of the stage are on disk what the run took them to be."""
    params = stage_params(stage, values) == stage_params(stage)
    return params and stage_code(stage) == STARTED["code"][stage]


def more_memory(megabytes):
    """A resource function: so much, and as much again at every further attempt."""

    def at_attempt(wildcards, attempt):
        return megabytes * attempt

    return at_attempt


def more_time(minutes, seconds_per_piece=0):
    """A resource function: so many minutes, so many seconds for every piece of the job's part,
    and as much again at every further attempt."""

    def at_attempt(wildcards, attempt):
        pieces = pieces_of(wildcards.part) if seconds_per_piece else 0
        return math.ceil(minutes + pieces * seconds_per_piece / 60) * attempt

    return at_attempt


def pieces_of(part):
    """The number of pieces in a part; 0 before there is a catalogue (asked again after it)."""
    listing = Path("data/catalog/parts.tsv")
    if not listing.is_file():
        return 0
    return listed_rows(listing, listing.stat().st_mtime_ns).get(f"{part}.parquet", 0)


@lru_cache(maxsize=1)
def listed_rows(listing, changed):
    """{file: rows} of the tables that a listing names, read again when it has changed."""
    lines = [line.split("\t") for line in listing.read_text().splitlines()[1:]]
    return {name: int(rows) for name, rows, *_ in lines}


def tries(count):
    """So many further attempts of a job, or as many as `--retries` says for all. On a cluster the
    Snakemake inside a job would make as many of its own, every time."""
    if not workflow.is_main_process:
        return 0
    settings = workflow.execution_settings  # none in a dry run
    return max(count, settings.retries if settings else 0)


def listings(*stores):
    """What stands for all parts of a store. Naming the parts themselves, here a handful of jobs
    and thousands of files each, would take Snakemake most of the time of planning."""
    return [
        f"data/{store}" if store in ONE_JOB else f"data/{store}/parts.tsv"
        for store in stores
    ]


def manifests(modality, split, collection="pdmx"):
    """The path of one manifest."""
    return f"data/manifests/{collection}-{modality}-{split}.jsonl"


CLAMP2_MANIFESTS = [
    manifests(modality, split)
    for modality in ("abc", "mtf")
    for split in ("train", "validation", "test")
]
CLAMP2_STORES = [] if CLAMP2_GIVEN else listings("interleaved", "mtf")


def test_manifests():
    """The manifests that evaluation embeds: what is held out, of every collection."""
    return [
        manifests(modality, "test", collection)
        for collection in COLLECTIONS
        for modality in MODALITIES[collection]
    ]


def launcher(training):
    """The command that a training script follows: for several processes, their launcher."""
    nodes, processes = training["nodes"], training["processes"]
    if nodes * processes == 1:
        return "python"
    return f"python -m clamp3.training.launch {nodes}x{processes}"


def stage_launcher(wildcards):
    """The launcher of one contrastive stage."""
    return launcher(config["clamp3"]["stages"][wildcards.stage]["training"])


def cores(*trainings):
    """The CPU threads that the largest of these trainings uses in all its processes."""
    return max(each["threads"] * each["processes"] for each in trainings)


def machines(*trainings):
    """Resources of the largest of these trainings: GPUs of all nodes, and what Slurm needs for
    several: a task on each, started by srun inside the job (clamp3/training/launch.py).
    """
    nodes = max(each["nodes"] for each in trainings)
    gpus = max(each["nodes"] * each["processes"] for each in trainings)
    several = {"nodes": nodes, "tasks": nodes, "tasks_per_gpu": 0, "mpi": "srun"}
    return {"gpu": gpus} | (several if nodes > 1 else {})


def clamp3_stage_params(wildcards):
    """The parameters of one contrastive stage; those of the other stages are left out."""
    chosen = json.loads(stage_params("clamp3"))
    stages = chosen["clamp3"]["stages"]
    chosen["clamp3"]["stages"] = {wildcards.stage: stages[wildcards.stage]}
    return json.dumps(chosen, sort_keys=True)


def clamp3_tokenizer_params():
    """The parameters of the text tower alone."""
    params = json.loads(stage_params("clamp3"))
    return json.dumps({"text": params["clamp3"]["text"]}, sort_keys=True)


def previous_stage(wildcards):
    """The model that a stage starts from: that of the stage before it, or the first of all."""
    position = CLAMP3_STAGES.index(wildcards.stage)
    return (
        f"results/models/clamp3-stages/{CLAMP3_STAGES[position - 1]}"
        if position
        else config["clamp3"]["start"]
    )


def previous_model(wildcards):
    """The same as an input."""
    made = f"results/models/clamp3-stages/{wildcards.stage}"
    return given([previous_stage(wildcards)], made, "results/models/clamp3")


def stage_manifests(split):
    """An input function: the manifests of the stage's modality."""

    def of_stage(wildcards):
        symbolic = config["clamp3"]["stages"][wildcards.stage]["modality"] == "symbolic"
        chosen = ("abc", "mtf") if symbolic else ("audio",)
        return [manifests(modality, split) for modality in chosen]

    return of_stage


def stage_stores(wildcards):
    """The stores that the stage's manifests point to."""
    symbolic = config["clamp3"]["stages"][wildcards.stage]["modality"] == "symbolic"
    return listings("interleaved", "mtf") if symbolic else listings("features")


def adapter_store(wildcards):
    """The store that an adapter's manifests point to."""
    return listings({"abc": "interleaved", "mtf": "mtf"}[wildcards.adapter])


def guard_manifest(wildcards):
    """What the adapter must not spoil: pieces of another collection, if there is one."""
    guard = config["lora"]["guard"]
    collection = guard[wildcards.adapter]
    is_known = collection in COLLECTIONS and wildcards.adapter in MODALITIES[collection]
    if not is_known or guard["action"] == "none":
        return []
    return [manifests(wildcards.adapter, "test", collection)]
