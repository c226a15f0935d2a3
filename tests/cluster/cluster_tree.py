"""Work trees whose jobs run on a cluster."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from trees import TOOLS, Tree
from waiting import wait_for

# Of squeue's long output, each so wide.
COLUMNS = {"WorkDir": 400, "JobID": 12, "State": 20, "Partition": 30, "Comment": 100}
COLUMNS |= {"tres-per-job": 40, "MinMemory": 12, "NumCPUs": 6, "TimeLimit": 16}
# Snakemake, with a plugin that asks about its jobs every second: it asks ten seconds later each
# time, and what tests run takes three.
SNAKEMAKE = """
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
main()
"""
COMMAND = [sys.executable, "-c", SNAKEMAKE, "--profile", "profiles/slurm"]
# Runs `stand_in` in its place, unless what `fault` says comes first.
FAULTY = """
import sys, time
from pathlib import Path
Path(sys.argv[sys.argv.index("--log") + 1]).write_text("started\\n")
with open("tries", "a") as file:
    print(sys.argv[1:], file=file)
tries = Path("tries").read_text().count("\\n")
{fault}
exec(Path("{stand_in}").read_text())
"""


@dataclass
class Job:
    """A line of squeue."""

    folder: str
    number: str
    state: str
    partition: str
    rule: str
    gpus: str
    memory: str
    cores: str
    limit: str


class ClusterTree(Tree):
    """A work tree with a cluster to send its jobs to; `slurm` is the PATH to it."""

    slurm = ""
    process: subprocess.Popen | None = None

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return self.other(folder)

    def other(self, folder):
        """A work tree in another folder, on the same cluster."""
        tree = ClusterTree(folder)
        tree.slurm = self.slurm
        for name in [
            name for name in tree.environment if name.startswith(("SLURM_", "SNAKEMAKE_"))
        ]:
            del tree.environment[name]
        tree.environment["PATH"] = f"{TOOLS}:{self.slurm}"
        return tree

    def submit(self, *arguments, check=True, **environment):
        """What a run on the cluster said."""
        return self.run(*COMMAND, *arguments, check=check, **environment)

    def start_submitting(self, *arguments, **environment):
        """A run on the cluster at work; `said` tells what it has said."""
        with open(f"{self.folder}.log", "w") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env=self.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def said(self):
        with open(f"{self.folder}.log") as output:
            return output.read()

    def ask(self, *command):
        """What a command of Slurm prints."""
        environment = {"PATH": self.slurm}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self, *states):
        """This tree's jobs, the first one first; those in some states, or all."""
        columns = ",".join(f"{name}:{width}|" for name, width in COLUMNS.items())
        told = self.ask("squeue", "-h", "-t", "all", "-O", columns)
        lines = [line.rstrip("|").split("|") for line in told.splitlines()]
        found = [Job(*(field.strip() for field in line)) for line in lines]
        own = [job for job in found if job.folder == os.path.realpath(self.folder)]
        chosen = [job for job in own if not states or job.state in states]
        return sorted(chosen, key=lambda job: int(job.number))

    def wait_for_job(self, state, rule, seconds=120):
        """The first job of a rule that is found in a state."""
        found = []

        def is_there():
            assert self.process.poll() is None, self.said()
            found[:] = [job for job in self.jobs(state) if rule in job.rule]
            return bool(found)

        wait_for(is_there, seconds)
        return found[0]

    def break_script(self, name, fault):
        """Let a fault come before a stand-in's work: lines of Python that may look at `tries`."""
        script = self.folder / f"workflow/scripts/{name}.py"
        script.write_text(FAULTY.format(fault=fault, stand_in=self.folder / "stand_in.py"))

    def tries(self):
        """How often broken scripts have been called."""
        return len((self.folder / "tries").read_text().splitlines())


def site(tree, with_accounting=False):
    """Edit the numbered lines as a site would, and all that makes tests wait."""
    shutil.copy(tree.folder / "workflow/scripts/parse_catalog.py", tree.folder / "stand_in.py")
    profile = "profiles/slurm/config.yaml"
    tree.change("cores: 4 # 3", r"cores: \d+ # 3", profile)
    tree.change("mem_mb: 16000 # 4", r"mem_mb: \d+ # 4", profile)
    if not with_accounting:
        tree.change("", r"  slurm_account: .* # 1.*\n", profile)
        tree.change("slurm-status-command: squeue # 5", r"slurm-status-command: \S+ # 5", profile)
    for overlaid in ("slurm", "slurm-gpu"):
        tree.change("convert: 4", "convert: 50", f"profiles/{overlaid}/config.yaml")
    tree.change("latency-wait: 10", r"latency-wait: \d+", profile)
    tree.change("status-checks: 1", r"status-checks: \d+", profile)
