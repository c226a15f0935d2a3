"""PDMX.csv is read by its conventions, and each fault costs the row it stands in."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdmx_rows import BARE, COLUMNS, FULL, OLD_COLUMNS, row, write_csv
from samples import fault, put

from clamp3.data.pdmx import parse_pdmx
from clamp3.errors import DataError


@pytest.fixture
def parse(tmp_path):
    def run(rows, columns=COLUMNS, **options):
        return parse_pdmx(write_csv(tmp_path / "PDMX.csv", rows, columns), "data/pdmx", **options)

    return run


def titled(name, **changes):
    return row(name, BARE | {"title": "Air"}, **changes)


def only(parsed):
    """The one piece of a result, as a row."""
    assert len(parsed.columns["id"]) == 1, parsed.rejected
    return {name: values[0] for name, values in parsed.columns.items()}


def kinds(parsed):
    return [(reject.id, reject.kind) for reject in parsed.rejected]


def test_a_full_row(parse):
    piece = only(parse([row("Qm1", FULL)]))
    texts = [piece.pop(name) for name in ("background", "analysis", "description", "scene")]
    assert piece == {
        "id": "pdmx/Qm1",
        "mxl_path": "data/pdmx/mxl/1/11/Qm1.mxl",
        "mid_path": "data/pdmx/mid/1/11/Qm1.mid",
        "mxl_bytes": None,
        "mid_bytes": None,
        "title": "W.A. Mozart - Contredanse in F K. 15h",
        "artists": "W.A. Mozart, Wolfgang Amadeus Mozart",
        "genres": ["classical", "religiousmusic"],
        "tags": ["mozart", "contredanse", "kh"],
        "instruments": ["Acoustic Grand Piano", "Violin"],
        "programs": [0, 40, 40],
        "text": (
            "Title: W.A. Mozart - Contredanse in F K. 15h. Composer: W.A. Mozart. Genre: "
            "classical-religiousmusic. Instruments: 0-40-40. Tags: mozart-contredanse-kh. "
            "Difficulty: Intermediate"
        ),
        "license": "cc-zero",
        "license_conflict": False,
        "subsets": ["all", "all_valid", "deduplicated", "no_license_conflict", "rated"],
        "complexity": 1,
        "bars": 24,
        "tracks": 3,
        "rating": 4.66,
    }
    assert "Mozart" in texts[0]
    assert "24 bars" in texts[1]
    assert "piano and violin" in texts[1]
    assert "mozart, contredanse, kh" in texts[2]
    assert texts[3] == "Music for worship."


@pytest.mark.parametrize("missing", ["NA", "", "nan", "NaN"])
def test_missing_values_in_any_spelling(parse, missing):
    piece = only(parse([titled("Qm1", song_name=missing, rating=missing, tracks=missing)]))
    assert piece["text"] == "Title: Air"
    assert piece["rating"] is None


def test_a_row_with_nothing_but_a_title(parse):
    piece = only(parse([titled("Qm1")]))
    assert piece["title"] == "Air"
    assert piece["text"] == "Title: Air"
    assert "Air" in piece["background"]
    for name in ("genres", "tags", "programs", "instruments"):
        assert piece[name] == []
    for name in ("artists", "analysis", "description", "scene", "complexity", "bars", "tracks"):
        assert piece[name] is None
    assert piece["rating"] is None  # 0 is "not rated"


@pytest.mark.parametrize(
    ("title", "song", "expected"),
    [("A", "B", "A"), ("NA", "B", "B"), ("", "B", "B"), (" ", "B", "B"), ("A", "NA", "A")],
)
def test_the_song_name_stands_in_for_the_title(parse, title, song, expected):
    assert only(parse([row("Qm1", title=title, song_name=song)]))["title"] == expected


def test_older_releases_have_no_midi_and_another_last_subset(parse):
    old = [titled("Qm1"), titled("Qm2", **{"subset:valid_mxl_pdf": "False"})]
    parsed = parse(old, OLD_COLUMNS, subset="all_valid")
    piece = only(parsed)
    assert (piece["mxl_path"], piece["mid_path"]) == ("data/pdmx/mxl/1/11/Qm1.mxl", None)
    assert piece["subsets"][-1] == "valid_mxl_pdf"
    assert (parsed.rows_in, parsed.left_out) == (2, 1)


def test_columns_go_by_name_not_by_place(parse):
    shuffled = [*reversed(COLUMNS)]
    assert parse([row("Qm1", FULL)], shuffled) == parse([row("Qm1", FULL)])


def test_ids_are_file_names_of_the_first_path_that_is_there(parse):
    rows = [titled("Qm1"), titled("Qm2", path="NA"), titled("Qm3", path="NA", mxl="NA")]
    assert parse(rows).columns["id"] == ["pdmx/Qm1", "pdmx/Qm2", "pdmx/Qm3"]


@pytest.mark.parametrize(("mxl", "mid"), [("NA", "./mid/a.mid"), ("./mxl/a.mxl", "NA")])
def test_one_file_is_enough(parse, mxl, mid):
    piece = only(parse([titled("Qm1", mxl=mxl, mid=mid)]))
    assert (piece["mxl_path"] is None) == (mxl == "NA")
    assert (piece["mid_path"] is None) == (mid == "NA")


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ({"mxl": "NA", "mid": ""}, "no_music", "names neither"),
        ({"mxl": "/mxl/a.mxl"}, "bad_path", "mxl: .* is absolute"),
        ({"mxl": ".\\mxl\\a.mxl"}, "bad_path", "backslashes"),
        ({"mid": "./mid/../../a.mid"}, "bad_path", r"'\.\.'"),
        ({"path": "C:/a.json"}, "bad_path", "absolute"),
        ({"complexity": "easy"}, "bad_value", "complexity: 'easy'; expected a number"),
        ({"song_length__bars": "-3"}, "bad_value", "song_length.bars"),
        ({"n_tracks": "1e12"}, "bad_value", "n_tracks"),
        ({"notes_per_bar": "inf"}, "bad_value", "notes_per_bar"),
        ({"rating": "inf"}, "bad_value", "rating"),
        ({"license_conflict": "maybe"}, "bad_value", "expected True or False"),
        ({"tracks": "0-200"}, "bad_value", "tracks: 200 is no General MIDI program"),
        ({"tracks": "piano"}, "bad_value", "tracks: 'piano'"),
        ({"tracks": "-1-0"}, "bad_value", "tracks: '-1-0'"),
        ({"subset:all": "NA"}, "bad_value", "no subset:all"),
        ({"subset:rated": "2"}, "bad_value", "subset:rated: '2'"),
        ({"title": "NA", "license": "x"}, "no_text", "no title"),
    ],
)
def test_faults_cost_the_row_they_stand_in(parse, changes, kind, reason):
    parsed = parse([titled("Qm0"), titled("Qm1", **changes), titled("Qm2")])
    assert parsed.columns["id"] == ["pdmx/Qm0", "pdmx/Qm2"]
    *found, why = fault(parsed)
    assert found == [kind, "row 3"]
    assert re.search(reason, why), why
    assert parsed.rejected[0].id in ("pdmx/Qm1", "pdmx/row 3")


def test_a_row_without_any_name(parse):
    parsed = parse([row("Qm1", path="NA", mxl="NA", mid="NA")])
    assert kinds(parsed) == [("pdmx/row 2", "no_music")]


def test_the_first_of_two_equal_ids_stays(parse):
    parsed = parse([titled("Qm1"), titled("Qm1", title="Other"), titled("Qm2")])
    assert parsed.columns["title"] == ["Air", "Air"]
    assert kinds(parsed) == [("pdmx/Qm1", "duplicate_id")]


def test_a_bad_row_does_not_shadow_a_good_one_of_its_id(parse):
    parsed = parse([titled("Qm1", complexity="x"), titled("Qm1")])
    assert parsed.columns["id"] == ["pdmx/Qm1"]
    assert kinds(parsed) == [("pdmx/Qm1", "bad_value")]


def test_rows_of_the_wrong_width_are_rejected(tmp_path):
    path = write_csv(tmp_path / "PDMX.csv", [titled("Qm1"), titled("Qm2")])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1], lines[1] + ",x", lines[2][:200]]))
    parsed = parse_pdmx(path, "data/pdmx")
    assert parsed.columns["id"] == ["pdmx/Qm1"]
    assert kinds(parsed) == [("pdmx/row 3", "bad_row"), ("pdmx/row 4", "bad_row")]
    assert "63 cells, expected 62" in parsed.rejected[0].reason
    assert parsed.rows_in == 3


def test_a_byte_that_is_not_utf8_costs_its_row(tmp_path):
    path = write_csv(tmp_path / "PDMX.csv", [titled("Qm1", title="Air#"), titled("Qm2")])
    path.write_bytes(path.read_bytes().replace(b"Air#", b"Air\xe9"))
    parsed = parse_pdmx(path, "data/pdmx")
    assert kinds(parsed) == [("pdmx/Qm1", "bad_value")]
    assert "is not UTF-8" in parsed.rejected[0].reason


@pytest.mark.parametrize(
    ("cell", "title"),
    [
        ("Schmücke dich 🎵", "Schmücke dich 🎵"),
        ('"a, ""b"""', 'a, "b"'),
        ('"two\nlines"', "two lines"),
        ("  wide   blanks\u00a0here ", "wide blanks here"),
        ('say "hi"', 'say "hi"'),
        ("Title: NA", "Title: NA"),
        ("na", "na"),
    ],
)
def test_titles_as_people_write_them(parse, cell, title):
    assert only(parse([row("Qm1", title=cell)]))["title"] == title


@pytest.mark.parametrize(
    ("cell", "complexity"), [("0", 0), ("1.0", 1), ("2.9", 2), (" 3 ", 3), ("1e0", 1), ("NA", None)]
)
def test_complexities(parse, cell, complexity):
    assert only(parse([titled("Qm1", complexity=cell)]))["complexity"] == complexity


def test_subsets_leave_rows_out_and_reject_none(parse):
    rows = [
        titled("Qm1", **{"subset:rated": "True"}),
        titled("Qm2"),
        titled("Qm3", complexity="bad"),
        titled("Qm4", **{"subset:rated": "TRUE", "complexity": "bad"}),
    ]
    parsed = parse(rows, subset="rated")
    assert parsed.columns["id"] == ["pdmx/Qm1"]
    assert kinds(parsed) == [("pdmx/Qm4", "bad_value")]
    assert (parsed.rows_in, parsed.left_out) == (4, 2)


def test_files_are_looked_for_only_when_asked(parse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "data/pdmx/mxl/1/11/Qm1.mxl", "12345")
    rows = [titled("Qm1"), titled("Qm2"), titled("Qm3", mid="NA")]
    assert len(parse(rows).columns["id"]) == 3
    parsed = parse(rows, check_files=True)
    piece = only(parsed)
    assert (piece["id"], piece["mxl_bytes"], piece["mid_bytes"]) == ("pdmx/Qm1", 5, None)
    assert piece["mid_path"] is not None  # conversion will say that it is not there
    assert kinds(parsed) == [("pdmx/Qm2", "missing_files"), ("pdmx/Qm3", "missing_files")]
    assert "Qm2.mxl and data/pdmx/mid/1/11/Qm2.mid not found" in parsed.rejected[0].reason


def test_an_absolute_folder_is_kept(tmp_path):
    path = write_csv(tmp_path / "PDMX.csv", [titled("Qm1")])
    paths = only(parse_pdmx(path, tmp_path))["mxl_path"]
    assert paths == f"{tmp_path}/mxl/1/11/Qm1.mxl"


cell = st.one_of(
    st.sampled_from(["NA", "", "0", "1", "0-40", "True", "False", "./mxl/a.mxl", "x/../y", "1.5"]),
    st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n\0'), max_size=5),
)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, cell)), max_size=6), st.booleans())
def test_every_row_is_used_rejected_or_left_out(tmp_path_factory, rows, rated):
    path = write_csv(tmp_path_factory.getbasetemp() / "PDMX.csv", rows)
    parsed = parse_pdmx(path, "data/pdmx", subset="rated" if rated else "all", check_files=True)
    used = len(parsed.columns["id"])
    assert parsed.rows_in == used + len(parsed.rejected) + parsed.left_out
    assert {len(values) for values in parsed.columns.values()} == {used}
    empty = sum(all(not cell for cell in row.values()) for row in rows)
    assert parsed.rows_in == len(rows) - empty


def test_a_table_without_rows_has_no_pieces(parse):
    parsed = parse([])
    assert parsed.rows_in == 0
    assert not any(parsed.columns.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "x", "title": "t", "leadsheet": "X:1"}\n', "WikiMT-X"),
        ('{"location": "lmd_full/1/a.mid", "caption": "c"}\n', "MidiCaps"),
        (";".join(COLUMNS) + "\n", "semicolons"),
        (",".join(COLUMNS).replace("tracks,song", "song") + "\n", " tracks$"),
        ("./data/1/11/Qm1.json,NA,./mxl/1/11/Qm1.mxl\n", "without its first line"),
        ("path,metadata,facet:all,title\n", "the first release"),
        ("<html>", "HTML"),
    ],
)
def test_other_files_are_recognised(tmp_path, content, message):
    (tmp_path / "PDMX.csv").write_text(content)
    with pytest.raises(DataError, match=rf"not PDMX\.csv: no column.*{message}"):
        parse_pdmx(tmp_path / "PDMX.csv", "data/pdmx")


def test_a_missing_subset_is_named(parse):
    columns = [name for name in COLUMNS if name != "subset:deduplicated"]
    with pytest.raises(DataError, match="the subset deduplicated: no column subset:deduplicated"):
        parse([titled("Qm1")], columns, subset="deduplicated")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no such file; expected PDMX\.csv"):
        parse_pdmx(tmp_path / "PDMX.csv", "data/pdmx")
