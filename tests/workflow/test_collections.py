"""Collections of params.yaml become manifests, and vectors and figures of their own modality."""

import re

import pytest
from trees import Tree

LISTED = "    wikimt_x: {layout: wikimt_x, path: data/demo/wikimt-x-public.jsonl}\n"
ADDED = """    sdd: {layout: song_describer, path: given/song_describer.csv}
    pianist8: {layout: labelled_performances, path: given}
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What Snakemake would do with one collection less and two more."""
    tree = Tree.of_stand_ins(tmp_path_factory.mktemp("collections") / "tree", shards=1)
    (tree.folder / "given").mkdir()
    (tree.folder / "given/song_describer.csv").touch()
    tree.change(ADDED, re.escape(LISTED))
    return tree.planned_commands()


def test_each_collection_has_its_manifests(planned):
    made = set(re.findall(r"data/manifests/([\w-]+)\.jsonl", planned))
    assert {name for name in made if not name.startswith("pdmx-")} == {
        f"{collection}-{modality}-test"
        for collection in ("midicaps", "sdd", "pianist8")
        for modality in ("abc", "mtf", "audio")
    }
    assert "--collections pdmx sdd pianist8 midicaps --catalog" in planned


def test_each_collection_is_embedded(planned):
    tables = set(re.findall(r"embeddings/(?:clamp3|lora)/(\w+/\w+)\.parquet", planned))
    assert {"sdd/text", "sdd/audio", "pianist8/text", "pianist8/mtf"} <= tables
    assert not {"sdd/mtf", "pianist8/audio", "wikimt_x/text"} & tables


def test_the_lists_are_what_parsing_reads(planned):
    (inputs,) = re.findall(r"rule parse_catalog:\n +input: (.*)\n", planned)
    assert {"given/song_describer.csv", "given"} <= set(inputs.split(", "))
