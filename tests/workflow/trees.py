"""Work trees in which the workflow runs in seconds: stand-ins take the place of its scripts."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from repository import ROOT, run

STAND_IN = Path(__file__).with_name("stand_in.py")
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
RULE_FILES = {path.stem: path for path in sorted((ROOT / "workflow/rules").glob("*.smk"))}
# {name: text} of the rules in each file.
RULES = {
    name: dict(re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", path.read_text(), re.M | re.S))
    for name, path in RULE_FILES.items()
}
STAGE_OF = {rule: stage for stage in STAGES for rule in RULES[stage]}
TOOLS = Path(sys.executable).parent
# What a test run's own plugins, an earlier run and the user's settings must not decide.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("DVC")},
    **{
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    "GIT_CONFIG_GLOBAL": os.devnull,
    "PATH": f"{TOOLS}:{os.environ['PATH']}",
}


def copy_of_workflow(folder):
    """Copy the files that the workflow needs as Git would carry them, new ones too."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout
    left_out = ("tests/", "results/", "data/", "benchmarks/", "presets/")
    for name in listed.split("\0"):
        if (ROOT / name).is_file() and not name.startswith(left_out):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


class Tree:
    """A work tree, and what its tools say in it."""

    def __init__(self, folder, **environment):
        self.folder = Path(folder)
        self.environment = ENVIRONMENT | {"DVC_SITE_CACHE_DIR": f"{folder}.site"} | environment

    @classmethod
    def of_stand_ins(cls, folder, *, shards=3):
        """A Git repository of this one's workflow, its scripts replaced, nothing made yet."""
        tree = cls(folder)
        copy_of_workflow(tree.folder)
        for script in (tree.folder / "workflow/scripts").glob("*.py"):
            shutil.copy(STAND_IN, script)
        (tree.folder / "workflow/scripts/print_summary.py").write_text("")
        tree.change(f"shards: {shards}", r"shards: \d+")
        tree.git("init", "--quiet")
        tree.commit("start")
        return tree

    def copy(self, folder, **environment):
        """This tree with all its files, their times and the tools' records."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Tree(folder, **environment)

    def clone(self, folder):
        """What Git knows of this tree."""
        self.git("clone", "--quiet", str(self.folder), str(folder))
        return Tree(folder)

    def run(self, *command, check=True, **environment):
        """Everything a command said until it ended; what it left running may say more."""
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            told = output.read()
        assert not check or done.returncode == 0, f"{command}\n{told}"
        assert check or done.returncode != 0, f"did not fail: {command}\n{told}"
        return told

    def start(self, *command, **environment):
        """A command at work, leader of a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def git(self, *arguments):
        return self.run("git", *arguments)

    def dvc(self, *arguments):
        return self.run("dvc", *arguments)

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def repro(self, *arguments, **environment):
        """The stages that `dvc repro` ran."""
        told = self.run("dvc", "repro", *arguments, **environment)
        return re.findall(r"^Running stage '(\w+)'", told, re.MULTILINE)

    def make(self, *arguments, **environment):
        """{rule: number of jobs} that Snakemake ran, stage targets left out."""
        told = self.run("snakemake", *arguments, "--cores", "2", "--quiet", "host", **environment)
        return planned_jobs(told)

    def plan(self, *arguments):
        """{rule: number of jobs} that Snakemake would run."""
        return self.make("--dry-run", *arguments)

    def planned_commands(self):
        """What Snakemake says of the jobs that it would run, with their commands."""
        flags = ["--dry-run", "--printshellcmds", "--cores", "1", "--workflow-profile", "none"]
        return self.run("snakemake", *flags, DVC_BRIDGE="off")

    def assert_nothing_to_do(self):
        """Neither tool would run anything."""
        assert self.plan() == {}
        assert self.repro() == []

    def change(self, text, pattern, path="params.yaml"):
        """Write `text` where `pattern` matches in a file, which must be one place or more."""
        before = (self.folder / path).read_text()
        after = re.sub(pattern, text, before, count=1)
        assert after != before, f"{path}: no change by {pattern}"
        (self.folder / path).write_text(after)

    def files(self):
        """{path: content} of everything that the stages have made."""
        found = {}
        for stage in STAGES:
            for out in outs(stage):
                top = self.folder / out
                for path in [top, *top.rglob("*")]:
                    if path.is_file() and path.name != ".snakemake_timestamp":
                        found[str(path.relative_to(self.folder))] = path.read_bytes()
        return found


def planned_jobs(told):
    """{rule: number of jobs} from Snakemake's output, stage targets left out."""
    if "Nothing to be done" in told:
        return {}
    table = told.split("Job stats:")[1].split("\ntotal ")[0]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE))
    return {rule: int(jobs[rule]) for rule in jobs if rule not in {"all", *STAGES}}


def outs(stage):
    """The outputs that dvc.yaml lists for a stage."""
    items = [item for kind in ("outs", "metrics", "plots") for item in STAGES[stage].get(kind, [])]
    return [path for item in items for path in ([item] if isinstance(item, str) else item)]


def dependencies(stage):
    """The stage's deps with `${section.key}` filled in."""

    def value(match):
        found = PARAMS
        for key in match[1].split("."):
            found = found[key]
        return found

    return [re.sub(r"\$\{(.+?)\}", value, dep) for dep in STAGES[stage]["deps"]]


def stages(rules):
    """The stages that some rules belong to, in the order of dvc.yaml."""
    found = {STAGE_OF[rule] for rule in rules}
    return [stage for stage in STAGES if stage in found]


def kill(process):
    """SIGKILL a command and all that it started; returns when it is gone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
