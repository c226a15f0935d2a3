"""Music retrieval from PDMX.csv to a report: one rule file per stage, one target per stage.

snakemake            everything
snakemake m3         one stage and what it needs
snakemake --list     the table of contents
"""

import gc
import os
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")
# Thousands of shards are millions of small objects: looking for cycles among them is a sixth of the
# time of planning.
gc.set_threshold(100_000, 20, 20)
# Scripts run with the Python that runs Snakemake, whether its environment is activated or not, and
# with the package beside this file, wherever another copy is installed.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')
os.environ.update(
    PYTHONPATH=f"{workflow.basedir}:{os.getenv('PYTHONPATH', '')}".strip(":")
)
# A job on a cluster goes on with the parameters that its run began with.
PARAMS_FILE = "params.yaml"
if not workflow.is_main_process:
    PARAMS_FILE = os.getenv("CLAMP3_PARAMS", PARAMS_FILE)


configfile: PARAMS_FILE


# For `--sdm apptainer`, built by `make container` from constraints.txt; without the flag jobs run in
# the environment that started Snakemake.
container: "clamp3.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


wildcard_constraints:
    part=r"part-\d{5}-of-\d{5}",
    modality="abc|mtf|audio",
    adapter="abc|mtf",
    split="train|validation|test",


# DVC runs one stage at a time and owns what lies between them: under DVC only that stage's rules
# load, and what other stages made are plain files.
for stage in ACTIVE_STAGES:

    include: f"workflow/rules/{stage}.smk"


if not UNDER_DVC:

    include: "workflow/rules/tables.smk"


rule all:
    """The active stages: all of them, or under DVC the one that it runs."""
    default_target: True
    input:
        [getattr(rules, stage).input for stage in ACTIVE_STAGES],


# One Snakemake at a time, nothing stale in its way, and of one mind with DVC.
if workflow.is_main_process:
    clear_stale_lock()
    is_settled = is_running() or outlived.take_over(OUTS, MADE_FROM)
    if BRIDGE and is_settled:
        BRIDGE.adopt()


onstart:
    if BRIDGE:
        BRIDGE.lock()
    begin()  # last, so that a run that DVC refuses is in nobody's way
    if not UNDER_DVC:
        for path in plan().remove_leftovers():
            print(f"removed {path}: no rule makes it any more", file=sys.stderr)
    if not workflow.local_exec:
        outlived.begin(config, MADE_FROM)


onsuccess:
    outlived.end()
    record_finished()
    if "report" in ACTIVE_STAGES and not UNDER_DVC:
        shell("python workflow/scripts/print_summary.py")


onerror:
    outlived.end()
    record_finished()
