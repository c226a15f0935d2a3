"""WikiMT: descriptions of lead sheets, and the scores where they are."""

import json

import pytest
from samples import LEADSHEET, put

from clamp3.data.wikimt import parse_wikimt

LINE = {
    "title": "Body And  Soul",
    "artist": "Johnny Green",
    "genre": "Jazz",
    "description": "D.\nE. ",
}


@pytest.fixture
def parse(tmp_path):
    def run(*lines, check_files=False):
        lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path = put(tmp_path, "wikimusictext.jsonl", "\n".join(lines) + "\n")
        return parse_wikimt(path, check_files=check_files)

    return run


def test_a_line(parse, tmp_path):
    parsed = parse(LINE)
    piece = {name: values[0] for name, values in parsed.columns.items()}
    assert "Body And Soul" in piece.pop("background")
    assert piece == {
        "id": "wikimt/Johnny Green - Body And Soul",
        "mxl_path": str(tmp_path / "Johnny Green - Body And Soul.mxl"),
        "leadsheet": None,
        "title": "Body And Soul",
        "artists": "Johnny Green",
        "genres": ["Jazz"],
        "description": "D.\nE.",
        "text": "Title: Body And Soul. Artist: Johnny Green. Genre: Jazz",
    }


def test_scores_are_found_whatever_their_case_and_folder(parse, tmp_path):
    put(tmp_path, "Wikifonia/j/johnny green - Body and soul.MXL", "PK")
    found = parse(LINE, LINE | {"title": "Other"}, check_files=True)
    assert found.columns["mxl_path"] == [
        str(tmp_path / "Wikifonia/j/johnny green - Body and soul.MXL")
    ]
    assert [(row.id, row.kind) for row in found.rejected] == [
        ("wikimt/Johnny Green - Other", "missing_files")
    ]


def test_older_copies_hold_the_music(parse):
    parsed = parse(LINE | {"music": LEADSHEET}, check_files=True)
    assert parsed.columns["leadsheet"] == [LEADSHEET]
    assert parsed.columns["mxl_path"] == [None]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (LINE, "duplicate_id"),
        (LINE | {"title": ""}, "bad_value"),
        (LINE | {"title": 5}, "bad_value"),
        (LINE | {"title": "b", "description": 5}, "bad_value"),
        (LINE | {"title": "b", "music": ["X:1"]}, "bad_value"),
        (LINE | {"title": "b", "genre": None, "description": " "}, "no_text"),
        ('{"title": ', "bad_row"),
    ],
)
def test_faults_cost_their_line(parse, line, kind):
    parsed = parse(LINE, line)
    assert parsed.columns["id"] == ["wikimt/Johnny Green - Body And Soul"]
    assert [(row.kind, row.reason[:7]) for row in parsed.rejected] == [(kind, "line 2:")]
