"""WikiMT and WikiMT-X: lead sheets with texts, and the scores where they are."""

import pytest
from samples import LEADSHEET, fault, put, reading

from clamp3.data.wikimt import parse_wikimt, parse_wikimt_x

LINE = {"title": "Body And  Soul", "artist": "Johnny Green", "genre": "Jazz"}
LINE |= {"description": "D.\nE. "}
TEXTS = {"background": "An old tune.\nSecond line.", "analysis": "A reel in G major."}
TEXTS |= {"description": None, "scene": None}
SHEET = {"id": "-dQw4w9WgXc", "title": "The Miller's  Maid", "artists": "Trad.", "genre": "folk"}
SHEET |= TEXTS | {"background": "An old tune.\nSecond line. ", "description": ""}
SHEET |= {"leadsheet": LEADSHEET}


@pytest.fixture
def parse(tmp_path):
    return reading(parse_wikimt, tmp_path / "wikimusictext.jsonl")


@pytest.fixture
def parse_x(tmp_path):
    return reading(parse_wikimt_x, tmp_path / "w.jsonl")


def test_a_line(parse, tmp_path):
    (piece,) = parse(LINE).pieces()
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
    score = put(tmp_path, "Wikifonia/j/johnny green - Body and soul.MXL", "PK")
    found = parse(LINE, LINE | {"title": "Other"}, check_files=True)
    assert found.columns["mxl_path"] == [str(score)]
    (reject,) = found.rejected
    assert (reject.id, reject.kind) == ("wikimt/Johnny Green - Other", "missing_files")


def test_scores_are_found_however_their_accents_are_written(parse, tmp_path):
    score = put(tmp_path, "Beyonce\u0301 - Halo.mxl", "PK")
    found = parse(LINE | {"artist": "Beyonc\u00e9", "title": "Halo"}, check_files=True)
    assert found.columns["mxl_path"] == [str(score)]


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
    assert fault(parsed)[:2] == (kind, "line 2")


def test_a_lead_sheet(parse_x):
    parsed = parse_x(SHEET)
    known = {"title": "The Miller's Maid", "artists": "Trad.", "genres": ["folk"], **TEXTS}
    known |= {"text": "Title: The Miller's Maid. Artist: Trad.. Genre: folk"}
    assert parsed.pieces() == [{"id": "wikimt_x/-dQw4w9WgXc", "leadsheet": LEADSHEET} | known]
    assert (parsed.rejected, parsed.rows_in, parsed.left_out) == ([], 1, 0)


def test_several_artists_may_be_a_list(parse_x):
    assert parse_x(SHEET | {"artists": ["A", "B"]}).columns["artists"] == ["A, B"]


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        (SHEET, "duplicate_id", "stands in an earlier line"),
        (SHEET | {"id": "b", "leadsheet": " \n"}, "no_music", "empty"),
        (SHEET | {"id": "b", "leadsheet": ["X:1"]}, "bad_value", "leadsheet is list"),
        (SHEET | {"id": "a/b"}, "bad_value", "file name"),
        (SHEET | {"id": None}, "bad_value", "no name of a piece"),
        (SHEET | {"id": "b", "scene": 3}, "bad_value", "scene is int"),
        ({"id": "b", "leadsheet": LEADSHEET}, "no_text", "no title"),
        ('{"id": "b", ', "bad_row", "not JSON"),
        ("[]", "bad_row", "list, expected an object"),
    ],
)
def test_faults_cost_their_lead_sheet(parse_x, line, kind, reason):
    parsed = parse_x(SHEET, line, SHEET | {"id": "c"})
    assert parsed.columns["id"] == ["wikimt_x/-dQw4w9WgXc", "wikimt_x/c"]
    *found, why = fault(parsed)
    assert found == [kind, "line 2"]
    assert reason in why
