"""Code changes, remotes, plots, and where the bridge keeps out of the way."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from repository import ROOT
from s3_server import s3_server
from trees import STAGES, Tree, stages
from waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished, committed tree of stand-ins."""
    tree = Tree.of_stand_ins(tmp_path_factory.mktemp("finished") / "tree", shards=2)
    tree.make()
    tree.commit("results")
    return tree


@pytest.fixture
def tree(finished, tmp_path):
    return finished.copy(tmp_path / "tree")


def behind(tree):
    """The stages whose own code, data or parameters DVC calls changed."""
    return [stage for stage in json.loads(tree.run("dvc", "status", "--json")) if stage in STAGES]


def append(tree, pattern, line):
    """Add a line to the first file that matches, and return its path in the tree."""
    path = sorted(tree.folder.glob(pattern))[0]
    path.write_text(path.read_text() + line)
    return str(path.relative_to(tree.folder))


def test_an_edit_in_retrieval_never_retrains(tree):
    for path in sorted((tree.folder / "clamp3/retrieval").rglob("*.py")):
        path.write_text(path.read_text() + "\nEDITED = 1\n")
    training = {"m3", "clamp3", "lora"}
    by_snakemake = {
        stage
        for rule in tree.plan("embed", "evaluate", "m3", "clamp3", "lora")
        for stage in stages([rule])
    }
    assert not training & set(behind(tree))
    # Features are extracted by code of retrieval: they are input, and trained on when they change.
    assert "evaluate" in by_snakemake
    own = {s for s in STAGES if any("clamp3/retrieval" in dep for dep in STAGES[s]["deps"])}
    assert set(behind(tree)) == own


def test_an_edit_in_mtf_reruns_mtf_and_what_follows(tree):
    append(tree, "clamp3/formats/mtf/*.py", "\n# edited\n")
    others = {"codes", "states", "summaries"}  # read recordings or the catalogue
    follows = [s for s in list(STAGES)[list(STAGES).index("manifest") :] if s not in others]
    assert behind(tree) == ["mtf"]
    assert stages(tree.plan()) == ["mtf", *follows]
    assert tree.repro() == ["mtf"]  # the same tables come out: nothing follows
    assert tree.plan() == {}


def test_code_counts_by_content(tree):
    for path in [*(tree.folder / "clamp3").rglob("*.py"), *(tree.folder / "workflow").rglob("*.*")]:
        os.utime(path)
    assert tree.plan() == {}
    old = tree.folder / append(tree, "clamp3/retrieval/evaluation/metrics.py", "\nEDITED = 1\n")
    os.utime(old, (1e9, 1e9))  # as rsync and cp -p leave it
    assert stages(tree.plan()) == ["evaluate", "clap_musicgen", "evaluate_clamp2", "report"]


def test_an_edited_rule_reruns_its_stage_in_both(tree):
    append(tree, "workflow/rules/report.smk", "\n# edited\n")
    assert stages(tree.plan()) == behind(tree) == ["report"]


@pytest.mark.parametrize(
    ("store", "rule"), [("mtf", "convert_performances"), ("interleaved", "interleave_scores")]
)
def test_an_output_edited_by_hand_is_made_again(tree, store, rule):
    expected = tree.files()
    (tree.folder / f"data/{store}/part-00000-of-00002.parquet").write_text("edited")
    assert tree.make()[rule] >= 1
    assert tree.files() == expected
    assert tree.repro() == []


def test_other_parameters_on_the_command_line_are_not_recorded(tree):
    lock = (tree.folder / "dvc.lock").read_text()
    other = tree.folder.parent / "other.yaml"
    other.write_text("lora: {rank: 3}\n")
    assert "train_adapter" in tree.make("--configfile", str(other))
    assert set(behind(tree)) >= {"lora"}
    assert (
        yaml.safe_load((tree.folder / "dvc.lock").read_text())["stages"]["lora"]
        == (yaml.safe_load(lock)["stages"]["lora"])
    )
    assert "train_adapter" in tree.make()
    assert tree.repro() == []


def test_finished_stages_are_recorded_when_a_later_one_fails(tree):
    tree.change("rank: 4", "rank: 8")
    script = tree.folder / "workflow/scripts/embed_adapted.py"
    script.write_text("raise SystemExit(1)\n")
    tree.run("snakemake", "--cores", "2", check=False)
    assert "lora" not in behind(tree)
    assert "embed_lora" in behind(tree)


def test_recordings_of_ones_own_leave_nothing_to_do_either(tree):
    shutil.copytree(tree.folder / "data/demo/mid", tree.folder / "data/sounds")
    tree.change("source: folder", r"source: render\b")
    tree.change("folder: data/sounds", "folder: null")
    tree.make()
    assert [name for name in tree.files() if "recordings" in name] == ["data/recordings/origin.txt"]
    tree.assert_nothing_to_do()


def test_a_plan_that_dvc_has_overtaken_is_given_up(tree):
    code = (
        "import sys; sys.path.insert(0, 'workflow'); from pathlib import Path\n"
        "from dvc_bridge import Bridge; bridge = Bridge({'mtf': [Path('data/mtf')]})\n"
        "bridge.adopt(); bridge.lock(); bridge.held.close(); print('held')\n"
        "Path('data/mtf/part-00000-of-00002.parquet').touch(); bridge.lock()"
    )
    told = tree.run(sys.executable, "-c", code, check=False)
    assert "held" in told
    assert "start it again" in told


def test_a_work_tree_is_held_until_its_process_is_gone(tmp_path):
    def python(code):
        command = [sys.executable, "-c", f"from work_tree import *; {code}"]
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
            stderr=subprocess.DEVNULL,
        )

    locks = tmp_path / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.input.lock").write_text("")
    first = python("begin(); open('here', 'w').close(); import time; time.sleep(60)")
    wait_for((tmp_path / "here").exists)
    assert python("begin()").wait() == 1
    assert python("clear_stale_lock()").wait() == 0
    assert locks.is_dir(), "the lock of a run that lives"
    first.kill()
    first.wait()
    assert python("clear_stale_lock(); begin()").wait() == 0
    assert not locks.exists()


@pytest.mark.parametrize("absent", ["repository", "dvc"])
def test_without_dvc_nothing_happens(tree, absent, tmp_path):
    if absent == "repository":
        shutil.rmtree(tree.folder / ".git")
        environment = {}
    else:
        (tmp_path / "hidden").mkdir()
        (tmp_path / "hidden/sitecustomize.py").write_text(
            "import importlib.util as u, sys\n"
            "find = u.find_spec\n"
            "u.find_spec = lambda name, *a: None if name == 'dvc' else find(name, *a)\n"
            "sys.modules['dvc'] = None\n"
        )
        environment = {"PYTHONPATH": str(tmp_path / "hidden")}
    lock = (tree.folder / "dvc.lock").read_text()
    tree.change("rank: 4", "rank: 8")
    told = tree.run("snakemake", "--cores", "2", **environment)
    assert "dvc" not in re.sub(str(tmp_path), "", told)
    assert (tree.folder / "dvc.lock").read_text() == lock
    assert "Nothing to be done" in tree.run("snakemake", "--dry-run", **environment)


def test_it_costs_less_than_a_second_when_nothing_changed(tree):
    def seconds(**environment):
        times = []
        for _ in range(3):
            before = os.times()
            assert "dvc bridge" not in tree.run("snakemake", "--dry-run", **environment)
            after = os.times()
            times.append(after.children_user + after.children_system)
            times[-1] -= before.children_user + before.children_system
        return min(times)

    assert seconds() - seconds(DVC_BRIDGE="off") < 1


def test_every_curve_and_bar_is_drawn_from_a_file_that_a_stage_makes():
    made = [path for spec in STAGES.values() for item in spec.get("plots", []) for path in item]
    for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]:
        (settings,) = plot.values()
        assert (ROOT / settings["template"]).is_file()
        for path in settings["y"]:
            assert any(path == out or path.startswith(f"{out}/") for out in made), path


def test_plots_diff_draws_two_experiments(tree):
    tree.change("rank: 4", "rank: 8")
    tree.make()
    told = json.loads(tree.run("dvc", "plots", "diff", "HEAD", "workspace", "--json"))
    assert not told.get("errors")
    curve = told["data"]["Loss of the adapter for scores"][0]
    assert sorted(curve["revisions"]) == ["HEAD", "workspace"]
    assert len(curve["content"]["data"]["values"]) == 2


@pytest.fixture
def s3():
    """The address of an S3-compatible server on this machine."""
    with s3_server("dvc_s3") as (address, _):
        yield address


@pytest.mark.long
def test_push_clone_and_pull_over_s3(tree, s3, tmp_path):
    credentials = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    create = f"import boto3; boto3.client('s3', endpoint_url='{s3}').create_bucket(Bucket='store')"
    tree.environment |= credentials
    tree.run(sys.executable, "-c", create)
    tree.dvc("remote", "add", "--default", "store", "s3://store/clamp3")
    tree.dvc("remote", "modify", "store", "endpointurl", s3)
    tree.commit("remote")
    tree.dvc("push", "--quiet")
    clone = tree.clone(tmp_path / "clone")
    clone.environment |= credentials
    clone.dvc("pull", "--quiet")
    assert clone.files() == tree.files()
    clone.assert_nothing_to_do()
