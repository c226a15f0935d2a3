"""The picture of the pipeline is that of dvc.yaml."""

import xml.etree.ElementTree as ElementTree

import draw_pipeline
import pytest
from draw_pipeline import Node, draw, layers, links, needs, places, reduced
from from_code.stages import stages
from repository import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def test_the_committed_picture_is_what_the_script_draws():
    drawn = draw(ROOT)
    assert drawn == draw_pipeline.PICTURE.read_text(encoding="utf-8"), (
        "the pipeline has changed: python docs/images/draw_pipeline.py"
    )


def test_every_stage_is_a_box_within_the_picture():
    picture = ElementTree.fromstring(draw(ROOT))
    left, _, width, height = map(float, picture.get("viewBox").split())
    boxes = [[float(box.get(key)) for key in ("x", "y")] for box in picture.iter(f"{SVG}rect")]
    names = [text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "name"]
    assert names == [*stages(ROOT)]
    assert all(left <= x <= left + width - draw_pipeline.BOX_WIDTH for x, _ in boxes)
    assert all(0 <= y <= height - draw_pipeline.BOX_HEIGHT for _, y in boxes)
    apart = draw_pipeline.BOX_WIDTH
    assert not [
        (one, other)
        for one in boxes
        for other in boxes
        if one < other and one[1] == other[1] and other[0] - one[0] < apart
    ]


def test_stages_need_those_whose_outputs_they_read():
    found = needs(ROOT)
    assert found["parse"] == {"corpus"}
    assert found["interleave"] == {"abc"}
    assert {"manifest", "interleave", "mtf", "audio", "m3"} == found["clamp3"]
    assert reduced(found)["clamp3"] == {"m3"}


@pytest.fixture
def graph():
    return {"d": {"a", "b", "c"}, "c": {"b"}, "b": {"a"}, "a": set(), "e": {"a", "d"}}


def test_what_follows_is_left_out(graph):
    assert reduced(graph) == {"d": {"c"}, "c": {"b"}, "b": {"a"}, "a": set(), "e": {"d"}}


def test_arrows_go_down_and_pass_each_row_between(graph):
    graph["f"] = {"a", "e"}
    rows = layers(graph)
    assert [node.stage for row in rows for node in row if not node.to] == list("abcdef")
    at = places(graph)
    for chain in links(graph):
        assert [at[node][1] for node in chain] == [*range(at[chain[0]][1], at[chain[-1]][1] + 1)]
    assert sum(node.to == "f" for node in at) == 4
    assert Node("a", "f", 2) in at


def test_a_description_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="longer than the box"):
        draw_pipeline._box("m3", {"desc": "word " * 40, "outs": ["data/x"]}, 100, 0)
