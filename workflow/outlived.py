"""Cluster jobs outlive a Snakemake that is killed, or whose machine goes down.

Snakemake notes what it ran a job for when it hears of the job's end. Of jobs that end without it
there is no note: they would run again, or beside the job that still writes the same files. So,

begin      a run on a cluster leaves word of what its stages are made from (parameters and code);
take_over  the next one waits until no job of the dead one is left, and notes as its own what jobs
           made that ended well, if their stage is still made from the same;
end        a run that has heard of all its jobs leaves nothing.

A job that waits in the queue for a day reads the parameters of its own run (PARAMS), not what
params.yaml says by then.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from dvc_bridge import STAMP, Bridge, say, touch

RUN = Path(".snakemake/cluster_run.json")
PARAMS = Path(".snakemake/cluster_params.json")
SECONDS_BETWEEN_LOOKS = 5
DRY = {"-n", "--dry-run", "--dryrun"}


def begin(config: dict, made_from: dict[str, str]) -> None:
    """Leave word of a run on a cluster. `made_from` has a digest for each of its stages."""
    PARAMS.write_text(json.dumps(config))
    os.environ["CLAMP3_PARAMS"] = str(PARAMS)  # goes with every job that is submitted
    RUN.write_text(json.dumps(made_from))
    stay_with_squeue()


def stay_with_squeue() -> None:
    """Where `squeue` tells the states of jobs, let it do so to the end.

    The plugin looks at every turn whether squeue remembers ended jobs for long enough, takes no
    answer for a no, and asks the accounting from then on, which may be none: it would ask for ever.
    """
    plugin = sys.modules.get("snakemake_executor_plugin_slurm")
    seconds = plugin.get_min_job_age() if plugin else None
    if seconds is not None:
        plugin.get_min_job_age = lambda: seconds


def end() -> None:
    """Leave nothing, unless a job is still at work, or Slurm cannot tell."""
    if RUN.exists() and queued() == []:
        RUN.unlink()


def take_over(outs: dict[str, list[Path]], made_from: dict[str, str]) -> bool:
    """Wait for the jobs of a run that died, and make theirs what those have made.

    `outs` are the outputs that dvc.yaml lists for each stage. In a dry run nothing is waited for.
    Returns whether no such job is left, which may still write outputs.
    """
    if not RUN.exists():
        return True
    if not wait_for_jobs():
        return False
    since, left = RUN.stat().st_mtime, json.loads(RUN.read_text())
    RUN.unlink()
    same = [stage for stage in left if left[stage] == made_from.get(stage)]
    notes = Bridge(outs)
    made = {stage: [*finished(notes, outs[stage], since)] for stage in same}
    stages = [stage for stage in same if made[stage]]
    if stages:
        targets = sorted({path for stage in stages for path in made[stage]})
        say(f"taken over from jobs that outlived their Snakemake: {len(targets)} outputs")
        touch(stages, "--force", *targets)  # made from what the stages are made from now
    return True


def finished(notes: Bridge, outs: list[Path], since: float) -> Iterable[str]:
    """Outputs of rules among `outs` that jobs have finished and that Snakemake has no note of."""
    for path in notes.strangers(outs):
        output = next((each for each in path.parents if (each / STAMP).exists()), path)
        names = [str(each) for each in (path, *path.parents[:-1])]
        is_whole = not notes.notes._filter_incomplete_keys(names)
        if is_whole and os.lstat(path).st_mtime >= since:
            yield str(output)


def wait_for_jobs() -> bool:
    """Wait until no job of the dead run is in Slurm's queue. Whether it is so, which it may not be
    in a dry run."""
    told = None
    while (jobs := queued()) or jobs is None:
        if jobs and jobs != told:
            told = jobs
            say(f"jobs {' '.join(jobs)} of a run that died are still there; `scancel` ends them")
        if DRY & {*sys.argv}:
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def queued() -> list[str] | None:
    """The numbers of jobs in Slurm's queue that Snakemake has submitted from this folder: those
    whose comment is their rule. [] where there is no Slurm, None while it does not answer."""
    if not shutil.which("squeue"):
        return []
    command = ["squeue", "--noheader", f"--user={os.geteuid()}", "--format=%A|%k|%Z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say(f"squeue does not answer: {done.stderr.strip()}\n(without Slurm: remove {RUN})")
        return None
    jobs = [line.split("|", 2) for line in done.stdout.splitlines()]
    here = os.getcwd()
    return [job for job, rule, folder in jobs if rule.startswith("rule_") and folder == here]
