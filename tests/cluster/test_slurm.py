"""The workflow on a real Slurm, with stand-ins for its scripts, and what goes wrong on clusters."""

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from slurm import Cluster, running
from trees import planned_jobs
from waiting import wait_for

pytestmark = pytest.mark.long

GPU = ["--profile", "profiles/slurm-gpu"]
CORPUS = "data/demo/PDMX.csv"


@pytest.fixture(scope="module", autouse=True)
def killed(origin, tmp_path_factory):
    """Two runs, of which Slurm kills one's job for its time and the other's for its memory.

    They go on while the other tests run: a time limit is a minute at least.
    """
    slow = origin.copy(tmp_path_factory.mktemp("slow") / "tree")
    large = origin.copy(tmp_path_factory.mktemp("large") / "tree")
    large.break_script("build_demo_corpus", "data = bytes(range(256)) * 6_000_000; time.sleep(60)")
    runs = {}
    for tree, limit in ((slow, "runtime=1"), (large, "mem_mb=1000")):
        arguments = ["--retries", "0", "--set-resources", f"build_demo_corpus:{limit}"]
        runs[tree] = tree.start_submitting(*arguments, "--", "corpus", STAND_IN_SECONDS="300")
    yield runs
    for process in runs.values():
        process.kill()
        process.wait()


@pytest.fixture
def made(by_local, tmp_path):
    """A copy of the tree after the local run."""
    return by_local.copy(tmp_path / "tree")


def without(tree, *folders):
    """Leave nothing of some outputs."""
    for folder in folders:
        shutil.rmtree(tree.folder / folder)


def kill_while_converting(tree, seconds):
    """Have the cluster make MTF in jobs of so many seconds, and SIGKILL Snakemake as they run."""
    without(tree, "data/mtf")
    process = tree.start_submitting("mtf", STAND_IN_SECONDS=str(seconds))
    tree.wait_for_job("RUNNING", "convert_performances")
    process.kill()
    process.wait()


def test_shards_are_few_jobs_and_what_trains_gets_a_gpu(made, by_local):
    without(made, "data/abc", "data/interleaved", "data/mtf", "data/features", "data/recordings")
    without(made, "data/manifests", "results/models")
    told = made.submit(*GPU, "m3")
    assert planned_jobs(told)["convert_scores"] == 6
    assert made.files() == by_local.files()
    jobs = made.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    shards = [job for job in jobs if "convert_" in job.rule]
    assert len(shards) == 3, "six chains of two jobs and six jobs, four a job"
    assert max(int(job.cores) for job in shards) <= 4
    assert [job.cores for job in jobs if "features" in job.rule] == ["4"]
    assert not [job for job in jobs if "list_" in job.rule]
    (training,) = [job for job in jobs if "train_m3" in job.rule]
    assert (training.partition, training.gpus) == ("gpu", "gres:gpu:1")
    assert {job.gpus for job in jobs if job.partition == "cpu"} == {"N/A"}
    assert made.plan("m3") == {}


def test_a_failed_job_is_tried_again_with_more_and_no_more_often_than_said(made):
    made.break_script("train_m3", "if tries == 1: sys.exit('no space left on device')")
    told = made.submit("m3", "--retries", "1")
    assert "SLURM status is: 'FAILED'" in told
    assert "no space left on device" in told
    first, second = made.jobs()
    assert made.tries() == 2, "the Snakemake inside the first job tried again"
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert (first.memory, second.memory) == ("6000M", "12000M")
    assert (first.limit, second.limit) == ("1-00:00:00", "2-00:00:00")
    assert {(job.partition, job.gpus) for job in made.jobs()} == {("cpu", "N/A")}


def test_a_cancelled_job_is_tried_again_with_the_parameters_of_its_run(tree, by_local):
    process = tree.start_submitting("corpus", STAND_IN_SECONDS="8")
    job = tree.wait_for_job("RUNNING", "build_demo_corpus")
    tree.change("seed: 43", r"seed: \d+")
    tree.ask("scancel", job.number)
    assert process.wait(120) == 0, tree.said()
    assert "SLURM status is: 'CANCELLED'" in tree.said()
    assert [job.state for job in tree.jobs()] == ["CANCELLED", "COMPLETED"]
    assert tree.files()[CORPUS] == by_local.files()[CORPUS]
    assert tree.plan("corpus") == {"build_demo_corpus": 1}, "it is not what params.yaml says now"


def test_jobs_that_outlive_a_killed_snakemake_are_taken_over(made, by_local):
    expected = by_local.files()
    kill_while_converting(made, seconds=6)
    assert "still there" in made.run("snakemake", "--dry-run", "--cores", "1", "mtf")
    told = made.submit("mtf")
    assert "of a run that died are still there" in told
    assert "taken over from jobs that outlived their Snakemake: 12 outputs" in told
    assert planned_jobs(told) == {"list_performances": 1}
    assert {job.state for job in made.jobs()} == {"COMPLETED"}
    found = made.files()
    assert {name for name in found if expected[name] != found[name]} == set()
    assert made.plan("mtf") == {}
    made.change("max_midi_bytes: 8388607", r"max_midi_bytes: \d+")
    assert made.plan("mtf")["convert_performances"] == 6, "what they were made from is known"


def test_jobs_of_a_killed_run_are_not_taken_over_when_parameters_have_changed(made):
    kill_while_converting(made, seconds=2)
    made.change("max_midi_bytes: 8388607", r"max_midi_bytes: \d+")
    wait_for(lambda: not made.jobs("RUNNING", "PENDING"))
    assert made.plan("mtf")["convert_performances"] == 6


def test_ctrl_c_cancels_the_jobs(tree):
    # Where the tests run in the background it is ignored, and what they start would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = tree.start_submitting("corpus", STAND_IN_SECONDS="60")
    try:
        tree.wait_for_job("RUNNING", "build_demo_corpus")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
        process.wait()
    wait_for(lambda: not tree.jobs("RUNNING", "COMPLETING"))
    assert [job.state for job in tree.jobs()] == ["CANCELLED"]
    assert not (tree.folder / CORPUS).exists()


def test_sigterm_submits_no_more_and_waits_for_what_runs(tree):
    process = tree.start_submitting("parse", STAND_IN_SECONDS="4")
    tree.wait_for_job("RUNNING", "build_demo_corpus")
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(120) != 0, tree.said()
    finally:
        process.kill()
        process.wait()
    assert "Will exit after finishing currently running jobs" in tree.said()
    assert [job.state for job in tree.jobs()] == ["COMPLETED"]
    assert "build_demo_corpus" not in tree.plan("parse")


def test_dvc_waits_while_a_stage_runs_on_the_cluster(made):
    made.change("max_midi_bytes: 8388607", r"max_midi_bytes: \d+")
    ran = made.repro("mtf", SNAKEMAKE_PROFILE="profiles/slurm")
    assert "mtf" in ran
    assert ["convert_performances" in job.rule for job in made.jobs()].count(True) == 2
    assert made.plan("mtf") == {}


def test_snakemake_may_itself_be_a_job(tree, by_local):
    command = "snakemake --profile profiles/slurm corpus"
    log = tree.folder.parent / "job.log"
    tree.run(
        *["sbatch", "--wait", "--partition=gpu", "--time=10", "--mem=2000", f"--output={log}"],
        f"--wrap={command}",
    )
    assert "You are running snakemake in a SLURM job context" in log.read_text()
    jobs = tree.jobs()
    assert [job.partition for job in jobs] == ["gpu", "cpu"]
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert tree.files()[CORPUS] == by_local.files()[CORPUS]


def test_nothing_of_the_cluster_outlives_who_started_it(slurm, tmp_path):
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        cluster = Cluster(Path(folder, "s"))
        with running(cluster.folder):
            cluster.ask("sbatch", "--output=/dev/null", "--wrap=setsid sleep 300")
            wait_for(lambda: "RUNNING" in cluster.ask("squeue", "-h", "-o", "%T").stdout)
            assert len(cluster.left_over()) > 4
        assert cluster.left_over() == []


def test_a_partition_that_is_not_there_is_named(tree):
    tree.change("slurm_partition: fast", "slurm_partition: cpu", "profiles/slurm/config.yaml")
    told = tree.submit("corpus", "--retries", "0", check=False)
    assert "invalid partition specified: fast" in told


def test_profile_for_other_schedulers_with_the_commands_of_this_one(tree, by_local):
    profile = "profiles/cluster-generic/config.yaml"
    tree.change("seconds-between-status-checks: 1", r"seconds-between-.*: \d+", profile)
    tree.change("latency-wait: 10", r"latency-wait: \d+", profile)
    tree.run("snakemake", "--profile", "profiles/cluster-generic", "corpus")
    assert [job.state for job in tree.jobs()] == ["COMPLETED"]
    assert tree.files()[CORPUS] == by_local.files()[CORPUS]


def test_a_job_over_its_time_or_memory_is_killed_and_the_reason_named(killed):
    reasons = ["'TIMEOUT'", "exceeded memory limit"]
    for (tree, process), reason in zip(killed.items(), reasons, strict=True):
        assert process.wait(200) != 0
        assert reason in tree.said().lower().replace("'timeout'", "'TIMEOUT'")
        assert not (tree.folder / CORPUS).exists(), "half an output"
