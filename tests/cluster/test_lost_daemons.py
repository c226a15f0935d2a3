"""The workflow on a Slurm with accounting, while parts of that Slurm are away."""

import tempfile
import time

import pytest
import slurm as program
from cluster_tree import ClusterTree, site
from trees import planned_jobs
from waiting import wait_for

pytestmark = pytest.mark.long

SECONDS_AWAY = 10  # more than the five times that the plugin asks, unless the profile says more


@pytest.fixture(scope="module")
def cluster():
    """A Slurm with accounting, whose daemons can be killed."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install clamp3[slurm]")
    if reason := program.install(with_accounting=True):
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        program.running(f"{folder}/s", "--accounting") as started,
    ):
        yield started


@pytest.fixture
def tree(cluster, tmp_path):
    """A work tree of stand-ins, its profile edited for this site."""
    tree = ClusterTree.of_stand_ins(tmp_path / "tree")
    tree.slurm = cluster.path
    tree = tree.other(tree.folder)
    site(tree, with_accounting=True)
    tree.environment["DVC_BRIDGE"] = "off"  # nothing of it here, and it takes seconds
    yield tree
    if tree.process:
        tree.process.kill()
        tree.process.wait()


def states(tree):
    return [job.state for job in tree.jobs()]


def test_the_profile_as_it_stands_asks_the_accounting_why_a_job_ended(tree):
    tree.break_script(
        "build_demo_corpus", "if tries == 1: data = bytes(range(256)) * 6_000_000; time.sleep(60)"
    )
    told = tree.submit("corpus", "--set-resources", "build_demo_corpus:mem_mb=1000*attempt")
    print(told, tree.ask("sacct"))
    assert "exceeded memory limit" in told
    assert states(tree) == ["FAILED", "COMPLETED"]
    accounts = tree.ask("sacct", "--noheader", "-X", "--format=Account%20")
    assert {*accounts.split()} == {"my_account"}


@pytest.mark.parametrize(("daemon", "asked"), [("slurmctld", "squeue"), ("slurmdbd", "sacct")])
def test_jobs_end_while_who_knows_of_them_is_away(cluster, tree, tmp_path, daemon, asked):
    environment = {"STAND_IN_SECONDS": "10"}
    if asked == "squeue":
        environment["PATH"] = f"{no_accounting(tmp_path)}:{tree.environment['PATH']}"
    options = ["--slurm-status-command", asked, "--verbose"]
    process = tree.start_submitting(*options, "corpus", **environment)
    tree.wait_for_job("RUNNING", "build_demo_corpus")
    time.sleep(6)  # until slurmctld has saved that it runs
    cluster.tell(f"kill {daemon}")
    time.sleep(SECONDS_AWAY)
    cluster.tell(f"start {daemon}")
    assert process.wait(120) == 0, tree.said()
    print(tree.said())
    assert tree.said().count("could not check status of job") > 5
    assert set(states(tree)) == {"COMPLETED"}


def no_accounting(folder):
    """A folder with the `sacct` of a cluster without."""
    command = folder / "bin/sacct"
    command.parent.mkdir()
    command.write_text("#!/bin/sh\necho Slurm accounting storage is disabled >&2\nexit 1\n")
    command.chmod(0o755)
    return command.parent


def test_nothing_can_be_submitted_without_the_controller_and_all_goes_on_with_it(cluster, tree):
    cluster.tell("kill slurmctld")
    try:
        told = tree.submit("corpus", "--retries", "0", check=False)
        assert "Unable to contact slurm controller" in told
    finally:
        cluster.tell("start slurmctld")
    assert planned_jobs(tree.submit("corpus")) == {"build_demo_corpus": 1}


@pytest.mark.parametrize("by_slurm", [False, True])
def test_the_jobs_of_a_lost_node_are_done_on_another(cluster, tree, by_slurm):
    """Once, whether Snakemake submits them again or leaves it to Slurm."""
    profile = "profiles/slurm/config.yaml"
    tree.change("slurm_partition: both", "slurm_partition: cpu", profile)
    if by_slurm:
        tree.change("slurm-requeue: true", "slurm-no-requeue: true", profile)
    process = tree.start_submitting("corpus", STAND_IN_SECONDS="10")
    job = tree.wait_for_job("RUNNING", "build_demo_corpus")
    wait_for((tree.folder / "data/demo/PDMX.csv").exists)
    node = tree.ask("squeue", "-h", "--job", job.number, "--format=%N").strip()
    cluster.tell(f"kill {node}")
    tree.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")
    try:
        if by_slurm:  # which would wait for two minutes
            tree.wait_for_job("PENDING", "build_demo_corpus")
            tree.ask("scontrol", "update", f"jobid={job.number}", "starttime=now")
        assert process.wait(120) == 0, tree.said()
    finally:
        cluster.tell(f"start {node}")
    print(tree.said(), tree.ask("sacct", "-X", "-D"))
    assert states(tree) == (["COMPLETED"] if by_slurm else ["NODE_FAIL", "COMPLETED"])
    assert tree.plan("corpus") == {}
