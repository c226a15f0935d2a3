"""WikiMT-X is read line by line, and what is not WikiMT-X is named."""

import json

import pytest

from clamp3.data.wikimt_x import parse_wikimt_x
from clamp3.errors import DataError

LEADSHEET = 'X:1\nL:1/8\nM:4/4\nK:G\n|: "G" GABc d2 d2 :|\n'
LINE = {
    "id": "-dQw4w9WgXc",
    "title": "The Miller's  Maid",
    "artists": "Trad.",
    "genre": "folk",
    "background": "An old tune.\nSecond line. ",
    "analysis": "A reel in G major.",
    "description": "",
    "scene": None,
    "leadsheet": LEADSHEET,
}


@pytest.fixture
def parse(tmp_path):
    def run(*lines):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "w.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return parse_wikimt_x(tmp_path / "w.jsonl")

    return run


def test_a_line(parse):
    parsed = parse(LINE)
    assert {name: values[0] for name, values in parsed.columns.items()} == {
        "id": "wikimt_x/-dQw4w9WgXc",
        "leadsheet": LEADSHEET,
        "title": "The Miller's Maid",
        "artists": "Trad.",
        "genres": ["folk"],
        "background": "An old tune.\nSecond line.",
        "analysis": "A reel in G major.",
        "description": None,
        "scene": None,
        "text": "Title: The Miller's Maid. Artist: Trad.. Genre: folk",
    }
    assert (parsed.rejected, parsed.rows_in, parsed.left_out) == ([], 1, 0)


def test_several_artists_may_be_a_list(parse):
    assert parse(LINE | {"artists": ["A", "B"]}).columns["artists"] == ["A, B"]


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        (LINE, "duplicate_id", "stands in an earlier line"),
        (LINE | {"id": "b", "leadsheet": " \n"}, "no_music", "empty"),
        (LINE | {"id": "b", "leadsheet": ["X:1"]}, "bad_value", "leadsheet is list"),
        (LINE | {"id": "a/b"}, "bad_value", "file name"),
        (LINE | {"id": None}, "bad_value", "no name of a piece"),
        (LINE | {"id": "b", "scene": 3}, "bad_value", "scene is int"),
        ({"id": "b", "leadsheet": LEADSHEET}, "no_text", "no title"),
        ('{"id": "b", ', "bad_row", "not JSON"),
        ("[]", "bad_row", "list, expected an object"),
    ],
)
def test_faults_cost_their_line(parse, line, kind, reason):
    parsed = parse(LINE, line, LINE | {"id": "c"})
    assert parsed.columns["id"] == ["wikimt_x/-dQw4w9WgXc", "wikimt_x/c"]
    (reject,) = parsed.rejected
    assert (reject.stage, reject.kind) == ("parse", kind)
    assert reject.reason.startswith("line 2: ")
    assert reason in reject.reason


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ({"location": "lmd_full/1/a.mid", "caption": "x"}, "MidiCaps"),
        ({"title": "t", "artist": "a", "genre": "g", "description": "d"}, "wikimusictext"),
        ({"id": "a", "filepaths": ["a.abc"]}, "a training manifest"),
        ("path,metadata,mxl,is_user_pro", "PDMX.csv"),
        ("[" + json.dumps(LINE) + "]", "a JSON array"),
    ],
)
def test_other_files_are_recognised(parse, line, guess):
    with pytest.raises(DataError, match=f"no line is an object with id and leadsheet.*{guess}"):
        parse(line)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file; expected WikiMT-X"):
        parse_wikimt_x(tmp_path / "w.jsonl")
