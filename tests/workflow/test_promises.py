"""Snakemake and DVC in one work tree: what users are promised, each promise a test.

The real Snakefile, rules, dvc.yaml, profile and bridge; stand-ins for the scripts.
"""

import json
import shutil
from contextlib import suppress

import pytest
from trees import STAGES, Tree, kill, stages
from waiting import wait_for

pytestmark = pytest.mark.long

ALL = list(STAGES)
LORA = ["lora", "embed_lora", "evaluate", "report"]


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return Tree.of_stand_ins(tmp_path_factory.mktemp("origin") / "tree")


@pytest.fixture(scope="module")
def by_dvc(origin, tmp_path_factory):
    """A clone in which DVC made everything; what it ran."""
    tree = origin.clone(tmp_path_factory.mktemp("by_dvc") / "tree")
    return tree, tree.repro()


@pytest.fixture(scope="module")
def by_snakemake(origin, tmp_path_factory):
    """A clone in which Snakemake made everything, committed to Git; what it ran."""
    tree = origin.clone(tmp_path_factory.mktemp("by_snakemake") / "tree")
    ran = tree.make()
    tree.commit("results")
    return tree, ran


@pytest.fixture
def tree(by_snakemake, tmp_path):
    """A copy of a finished, committed tree."""
    return by_snakemake[0].copy(tmp_path / "tree")


@pytest.fixture
def pulled(tree, tmp_path):
    """A fresh clone of `tree` after `dvc push` and `dvc pull`."""
    tree.dvc("remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    tree.commit("remote")
    tree.dvc("push", "--quiet")
    clone = tree.clone(tmp_path / "clone")
    clone.dvc("pull", "--quiet")
    return clone


def test_after_dvc_in_a_fresh_clone_snakemake_has_nothing_to_do(by_dvc):
    tree, ran = by_dvc
    assert sorted(ran) == sorted(ALL)
    tree.assert_nothing_to_do()
    assert tree.plan(*ALL) == {}, "stages as targets"


def test_after_snakemake_in_a_fresh_clone_dvc_has_nothing_to_do(by_snakemake):
    tree, ran = by_snakemake
    assert stages(ran) == ALL
    tree.assert_nothing_to_do()


def test_both_make_the_same_files_and_the_same_lock(by_dvc, by_snakemake):
    one, other = by_dvc[0], by_snakemake[0]
    assert one.files() == other.files()
    assert (one.folder / "dvc.lock").read_text() == (other.folder / "dvc.lock").read_text()


@pytest.mark.parametrize("first", ["dvc", "snakemake"])
def test_a_parameter_reruns_the_same_stages_in_both(tree, first):
    tree.change("rank: 4", "rank: 8")
    if first == "dvc":
        assert stages(tree.plan()) == LORA
        assert tree.repro() == LORA
    else:
        assert stages(tree.make()) == LORA
    tree.assert_nothing_to_do()


def test_an_output_that_came_out_the_same_stops_dvc_and_then_snakemake(tree):
    tree.change(r"\1 0.3", r"(interleave:\n  max_rejected_share:) 0.2")
    assert tree.repro() == ["interleave", "report"]  # the report shows all parameters
    tree.assert_nothing_to_do()


def test_back_to_a_and_on_to_b_never_takes_the_files_of_a_for_b(tree):
    files_a = tree.files()
    tree.change("rank: 4", "rank: 8")
    tree.make()
    files_b = tree.files()
    tree.git("checkout", "--quiet", ".")
    tree.dvc("checkout", "--quiet")
    assert tree.files() == files_a
    tree.change("rank: 4", "rank: 8")
    assert stages(tree.plan()) == LORA
    tree.git("checkout", "--quiet", ".")
    tree.assert_nothing_to_do()
    tree.change("rank: 4", "rank: 8")
    assert stages(tree.make()) == LORA
    assert tree.files() == files_b != files_a
    tree.assert_nothing_to_do()


def test_the_run_cache_serves_what_either_tool_has_made(tree):
    files_a = tree.files()
    tree.change("rank: 4", "rank: 8")
    tree.make()
    files_b = tree.files()
    tree.change("rank: 8", "rank: 4")
    assert tree.repro() == []  # of Snakemake's first run
    assert tree.files() == files_a
    tree.assert_nothing_to_do()
    tree.change("rank: 4", "rank: 8")
    assert tree.repro() == []
    assert tree.files() == files_b
    tree.assert_nothing_to_do()


def test_another_shard_count_leaves_no_stale_shard(tree, origin, tmp_path):
    tree.change("shards: 2", "shards: 3")
    assert stages(tree.make()) == ALL[1:]
    assert not [name for name in tree.files() if "-of-00003" in name]
    tree.assert_nothing_to_do()
    other = origin.clone(tmp_path / "other")
    other.change("shards: 2", "shards: 3")
    other.make()
    assert tree.files() == other.files()


def test_another_shard_count_after_a_pull_leaves_no_stale_shard(pulled):
    pulled.change("shards: 2", "shards: 3")
    pulled.make()
    assert not [name for name in pulled.files() if "-of-00003" in name]
    pulled.assert_nothing_to_do()


def test_a_single_shard_as_target_removes_no_other(tree):
    (tree.folder / "data/abc/part-00001-of-00003.parquet").unlink()
    assert tree.make("data/abc/part-00001-of-00003.parquet") == {"convert_scores": 1}
    assert len(list(tree.folder.glob("data/abc/part-*"))) == 3


def halfway(tree, command, **environment):
    """Start a command, kill it with all its jobs after the first finished shard of ABC."""
    shutil.rmtree(tree.folder / "data/abc")
    process = tree.start(*command, STAND_IN_SECONDS="1", **environment)
    notes = tree.folder / ".snakemake/incomplete"

    def one_is_done():
        done = list(tree.folder.glob("data/abc/rejected-*"))
        assert process.poll() is None, "ended before it was killed"
        return len(done) >= 3 and any(notes.iterdir())

    wait_for(one_is_done)
    kill(process)


def test_a_table_of_a_paper_is_made_of_what_is_there_and_disturbs_no_stage(tree):
    assert tree.make("table_lora")["make_table"] == 1
    assert (tree.folder / "results/tables/lora.md").is_file()
    assert tree.plan("table_lora") == {}
    tree.assert_nothing_to_do()
    (tree.folder / "data/models/clamp3-c2").mkdir(parents=True)
    planned = tree.plan("table_lora")
    assert (planned["embed_paper_sets"], planned["make_table"]) == (1, 1)


@pytest.mark.parametrize("killed", ["snakemake", "dvc"])
@pytest.mark.parametrize("goes_on", ["snakemake", "dvc"])
def test_work_goes_on_after_kill_9(tree, killed, goes_on):
    expected = tree.files()
    if killed == "snakemake":
        halfway(tree, ["snakemake", "--cores", "2", "abc"])
    else:
        # or the run cache would serve it
        tree.change(r"\1 0.3", r"(abc:\n  max_rejected_share:) 0.2")
        halfway(tree, ["dvc", "repro", "abc"])
    if goes_on == "snakemake":
        assert tree.make()["convert_scores"] < 3
    else:
        ran = tree.repro()
        assert ran[:1] == ["abc"] if killed == "dvc" else ran in ([], ["abc"])
    assert tree.files() == expected
    tree.assert_nothing_to_do()


def test_after_push_clone_and_pull_neither_has_anything_to_do(tree, pulled):
    assert pulled.files() == tree.files()
    pulled.assert_nothing_to_do()
    pulled.change("rank: 4", "rank: 8")
    assert stages(pulled.plan()) == LORA
    assert pulled.repro() == LORA
    pulled.assert_nothing_to_do()


def test_a_parameter_edited_right_after_the_pull_reruns_only_what_it_must(pulled):
    pulled.change("rank: 4", "rank: 8")
    assert stages(pulled.make()) == LORA
    pulled.assert_nothing_to_do()


def experiments(tree):
    """{name: the row of `dvc exp show`}"""
    told = json.loads(tree.run("dvc", "exp", "show", "--json"))
    groups = [each for revision in told for each in revision.get("experiments") or []]
    return {row["name"]: row["data"] for each in groups for row in each["revs"]}


def test_temp_and_queued_experiments_have_four_different_results(tree):
    before = tree.files()
    tree.dvc("exp", "run", "--quiet", "--temp", "-n", "temp", "-S", "shards=2", "-S", "lora.rank=3")
    for rank in (5, 6):
        tree.dvc("exp", "run", "--queue", "-n", f"rank-{rank}", "-S", f"lora.rank={rank}")
    tree.dvc("queue", "start", "-j", "2")
    try:
        wait_for(lambda: is_idle(tree), 180)
    finally:
        tree.dvc("queue", "stop", "--kill")
    assert tree.files() == before
    tree.assert_nothing_to_do()
    rows = experiments(tree)
    assert {name: rank_of(row) for name, row in rows.items()} == {
        "temp": 3,
        "rank-5": 5,
        "rank-6": 6,
    }
    results = {json.dumps(row["metrics"], sort_keys=True) for row in rows.values()}
    results.add(json.dumps(json.loads(tree.run("dvc", "metrics", "show", "--json"))))
    assert len(results) == 4
    for name, row in rows.items():
        same = {out for out in row["outs"] if row["outs"][out] == rows["rank-5"]["outs"][out]}
        assert ("data/abc" in same) == (name != "temp"), "upstream of what changed"
    tree.dvc("exp", "apply", "--quiet", "temp")
    assert len(list(tree.folder.glob("data/abc/part-*-of-00002.parquet"))) == 2
    assert not [name for name in tree.files() if "-of-00003" in name]
    tree.assert_nothing_to_do()


def rank_of(row):
    return row["params"]["params.yaml"]["data"]["lora"]["rank"]


def is_idle(tree):
    """Whether all queued experiments have succeeded; while workers tidy up, DVC may not tell."""
    with suppress(AssertionError):
        told = tree.dvc("queue", "status")
        return "Queued" not in told and "Running" not in told
    return False


def busy_with(tree, out):
    """Whether DVC's lock on an output is held."""
    lock = tree.folder / ".dvc/tmp/rwlock"
    return lock.exists() and str(tree.folder / out) in lock.read_text()


def test_others_are_refused_while_snakemake_runs(tree):
    tree.change("rank: 4", "rank: 8")
    process = tree.start("snakemake", "--cores", "2", STAND_IN_SECONDS="2")
    wait_for(lambda: busy_with(tree, "results/models/lora"))
    assert "is busy" in tree.run("dvc", "repro", check=False)
    assert "lock" in tree.run("snakemake", "--cores", "1", check=False)
    assert process.wait() == 0
    tree.assert_nothing_to_do()


def test_snakemake_is_refused_while_dvc_runs(tree):
    tree.change("rank: 4", "rank: 8")
    process = tree.start("dvc", "repro", STAND_IN_SECONDS="6")
    wait_for(lambda: busy_with(tree, "results/models/lora"))
    for _ in range(3):  # also while Snakemake starts under DVC
        assert "is busy" in tree.run("snakemake", "--cores", "1", check=False)
    assert process.wait() == 0
    tree.assert_nothing_to_do()


def test_the_bridge_can_be_turned_off(tree):
    lock = (tree.folder / "dvc.lock").read_text()
    for examples, setting, unsaid in ((4, "off", "dvc bridge"), (3, "adopt", "recording")):
        tree.change(f"examples: {examples}", r"examples: \d+")
        told = tree.run("snakemake", "--cores", "2", DVC_BRIDGE=setting)
        assert unsaid not in told
        assert (tree.folder / "dvc.lock").read_text() == lock
