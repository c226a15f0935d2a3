"""Music retrieval from PDMX.csv to a report: one rule file per stage, one target per stage.

snakemake            everything
snakemake m3         one stage and what it needs
snakemake --list     the table of contents
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")
# Scripts run with the Python that runs Snakemake, whether its environment is activated or not.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')


configfile: "params.yaml"


# For `--sdm apptainer`; without it jobs run in the environment that started Snakemake.
container: "docker://python:3.11-slim"


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


rule all:
    """The active stages: all of them, or under DVC the one that it runs."""
    default_target: True
    input:
        [getattr(rules, stage).input for stage in ACTIVE_STAGES],


# Who is at work here, for clear_stale_lock.py: a killed run leaves its lock behind.
RUNNING = Path(".snakemake/running")


onstart:
    RUNNING.write_text(str(os.getpid()))


onsuccess:
    RUNNING.unlink(missing_ok=True)
    if "report" in ACTIVE_STAGES and not UNDER_DVC:
        shell("python workflow/scripts/print_summary.py")


onerror:
    RUNNING.unlink(missing_ok=True)
