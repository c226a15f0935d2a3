"""Archives are inputs like folders; what lies in a bucket is no file, and is read all the same."""

import re
import shutil

import pytest
from trees import Tree

CORPUS = r"  source: demo[^\n]*\n  folder: data/demo"


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """What Snakemake would do with PDMX in a zip archive, and with PDMX in a bucket."""
    tree = Tree.of_stand_ins(tmp_path_factory.mktemp("raw") / "tree", shards=1)
    (tree.folder / "mine").mkdir()
    (tree.folder / "mine/PDMX.zip").touch()
    told = {}
    for folder in ("mine/PDMX.zip", "mine/PDMX", "s3://bucket/PDMX"):
        tree.change("  collections: {}\n", r"  collections:.*\n(    .*\n)*")
        tree.change(f"  source: pdmx\n  folder: {folder}", CORPUS)
        told[folder] = tree.planned_commands()
        tree.git("checkout", "--quiet", "params.yaml")
    return told


def inputs(told, rule):
    """The inputs of the first job of a rule."""
    found = re.search(rf"rule {rule}:\n(?: +input: (.*)\n)?", told)[1]
    return set(found.split(", ")) if found else set()


@pytest.mark.parametrize("folder", ["mine/PDMX.zip", "mine/PDMX"])
def test_an_archive_is_the_input(plans, folder):
    told = plans[folder]
    for rule in ("parse_catalog", "convert_scores", "convert_performances", "extract_features"):
        assert "mine/PDMX.zip" in inputs(told, rule), rule


def test_a_bucket_is_no_input(plans):
    told = plans["s3://bucket/PDMX"]
    assert inputs(told, "parse_catalog") == set()
    for rule in ("convert_scores", "convert_performances", "extract_features"):
        assert inputs(told, rule) == {"data/catalog/part-00000-of-00001.parquet"}, rule
    assert "--midi s3://bucket/PDMX/mid" in told


def test_what_is_made_of_the_demo_is_not_taken_for_what_is_not_there(tmp_path):
    tree = Tree.of_stand_ins(tmp_path / "tree", shards=1)
    tree.make("clamp3", DVC_BRIDGE="off")
    tree.change("start: data/models/absent", "start: results/models/m3")
    assert "train_tokenizer" in tree.make("--dry-run", "clamp3", DVC_BRIDGE="off")
    tree.git("checkout", "--quiet", "params.yaml")
    tree.change("  source: pdmx\n  folder: mine/absent", CORPUS)
    assert "parse_catalog" in tree.make("--dry-run", "manifest", DVC_BRIDGE="off")
    (tree.folder / "data/catalog/parts.tsv").unlink()  # as a job that fails leaves it
    assert "parse_catalog" in tree.make("--dry-run", "manifest", DVC_BRIDGE="off")


def test_what_was_read_and_is_deleted_is_not_read_again(tmp_path):
    tree = Tree.of_stand_ins(tmp_path / "tree", shards=1)
    (tree.folder / "mine/mid").mkdir(parents=True)
    (tree.folder / "mine/PDMX.csv").touch()
    tree.change("  collections: {}\n", r"  collections:.*\n(    .*\n)*")
    tree.change("  source: pdmx\n  folder: mine", CORPUS)
    tree.make("parse", DVC_BRIDGE="off")
    shutil.rmtree(tree.folder / "mine")
    assert tree.make("--dry-run", "parse", DVC_BRIDGE="off") == {}
