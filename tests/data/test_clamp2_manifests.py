"""CLaMP 2's manifests: read as they are, through the catalogue and back, and as CLaMP 3's."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clamp3.data import catalog
from clamp3.data.clamp2_manifests import (
    FIELDS,
    SCHEMA,
    clamp2_line,
    from_clamp3_line,
    parse_clamp2,
    to_clamp3_line,
    with_summaries,
)
from clamp3.data.manifests import read_manifest
from clamp3.errors import DataError
from clamp3.files import read_table, write_jsonl, write_table
from clamp3.training.text_dropout import dropped_text

FULL = {
    "title": "Song Title",
    "composer": "Composer Name",
    "genres": ["Genre1", "Genre2"],
    "description": "Song description.",
    "lyrics": "La la.\nLa.",
    "tags": ["tag1", "tag2"],
    "ensembles": ["Ensemble Name"],
    "instruments": ["Instrument1", "Instrument2"],
    "summary_en": "English summary.",
    "summary_nen": {"language": "German", "summary": "Deutsche Zusammenfassung."},
    "filepaths": ["path/to/abc/file.abc", "path/to/mtf/file.mtf"],
}
LISTS = FULL | {
    "summary_en": ["One.", "Two."],
    "summary_nen": [
        {"language": "German", "summary": "Eins."},
        {"language": "French", "summary": "Un."},
    ],
}
NONE = dict.fromkeys(FIELDS) | {"filepaths": ["a/b.abc"]}
ODD = {
    "filepaths": "single.mid",
    "title": ["a", "b"],
    "genres": "one",
    "tags": [],
    "lyrics": "",
    "composer": 7,
    "summary_nen": {"summary": "x", "language": None, "extra": [1]},
    "own": {"nested": [1, 2.5, True, None]},
    "region": "Ireland",
    "analysis": "In G.",
    "language": "en",
}


def round_trip(folder, lines):
    """Manifest → catalogue rows in a Parquet file → manifest lines."""
    write_jsonl(folder / "in.jsonl", lines)
    parsed = parse_clamp2(folder / "in.jsonl")
    write_table(folder / "part.parquet", pa.table(parsed.columns, schema=SCHEMA))
    rows = read_table(folder / "part.parquet").to_pylist()
    return [clamp2_line(row) for row in rows], rows


@pytest.mark.parametrize("line", [FULL, LISTS, NONE, ODD, {"filepaths": []}, {"filepaths": None}])
def test_a_line_comes_back_as_it_was(tmp_path, line):
    (back,), _ = round_trip(tmp_path, [line])
    assert json.dumps(back) == json.dumps(line)


@pytest.mark.parametrize("path", ["/", ".", "", "..", "a/.."])
def test_a_path_that_names_no_file_makes_no_id(tmp_path, path):
    (back,), (row,) = round_trip(tmp_path, [{"filepaths": [path]}])
    assert back == {"filepaths": [path]}
    assert row["id"] == ("clamp2/a" if path.startswith("a") else "clamp2/line 1")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SUMMARY = st.fixed_dictionaries(
    {}, optional={"language": TEXT | st.none(), "summary": TEXT | st.none()}
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXT, each, max_size=3),
    max_leaves=5,
)
VALUE = TEXT | st.lists(TEXT, max_size=3) | SUMMARY | st.lists(SUMMARY, max_size=2) | ANYTHING
KEY = st.sampled_from([*FIELDS, "region", "language", "id", "analysis", "form", "artists"]) | TEXT
LINE = st.dictionaries(KEY, VALUE, max_size=9)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(LINE, max_size=4), VALUE)
def test_any_lines_come_back_as_they_were(tmp_path_factory, lines, filepaths):
    lines = [{"filepaths": filepaths}, *lines]
    back, rows = round_trip(tmp_path_factory.mktemp("trip"), lines)
    assert [json.dumps(line) for line in back] == [json.dumps(line) for line in lines]
    assert len({row["id"] for row in rows}) == len(lines)


def test_rows_hold_what_the_catalogue_holds(tmp_path):
    lines = [FULL, FULL, LISTS | {"filepaths": ["x/y.mid", "x/y.mxl", "x/z.mp3"], "id": "mine"}]
    _, rows = round_trip(tmp_path, lines)
    names = ("path/to/abc/file", "path/to/abc/file-2", "mine")
    assert [row["id"] for row in rows] == [f"clamp2/{name}" for name in names]
    assert set(catalog.SCHEMA.names) < set(rows[0])
    assert (rows[0]["artists"], rows[0]["tags"]) == ("Composer Name", ["tag1", "tag2"])
    assert rows[0]["summary_en"] == ["English summary."]
    assert rows[0]["summary_nen"] == [FULL["summary_nen"]]
    paths = [rows[2][f"{kind}_path"] for kind in ("mid", "mxl", "audio")]
    assert paths == lines[2]["filepaths"]
    assert rows[2]["summary_en"] == ["One.", "Two."]


def test_a_changed_column_wins_over_what_the_line_was(tmp_path):
    _, (row,) = round_trip(tmp_path, [ODD])
    changed = clamp2_line(row | {"genres": ["two"], "summary_en": ["New."]})
    assert changed == ODD | {"genres": ["two"], "summary_en": ["New."]}


def test_faulty_lines_are_apart_and_other_files_are_told(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(FULL) + "\n[1]\nnonsense\n")
    parsed = parse_clamp2(path)
    assert [row.kind for row in parsed.rejected] == ["bad_row", "bad_row"]
    assert len(parsed.columns["id"]) == 1
    path.write_text('{"location": "x", "caption": "y"}\n')
    with pytest.raises(DataError, match="looks like MidiCaps"):
        parse_clamp2(path)


def test_in_clamp3s_layout_nothing_is_lost(tmp_path):
    for line in (FULL, LISTS, NONE):
        there = to_clamp3_line(line)
        write_jsonl(tmp_path / "m.jsonl", [there])
        assert read_manifest(tmp_path / "m.jsonl") == [there]
        back = from_clamp3_line(there)
        assert back == line | {key: there[key] or None for key in ("summary_en", "summary_nen")}
    assert there["artists"] is None
    assert to_clamp3_line(FULL)["artists"] == "Composer Name"
    known = {"language": "German", "background": "Deutsche Zusammenfassung."}
    assert to_clamp3_line(FULL)["translations"] == known


def test_clamp3_lines_become_clamp2s():
    line = {
        "id": "pdmx/a",
        "filepaths": ["a.abc"],
        "title": "A",
        "artists": "B",
        "language": "en",
        "background": "Old.",
        "translations": {"language": "French", "background": "Vieux.", "scene": "Pour danser."},
    }
    told = from_clamp3_line(line)
    assert "id" not in told
    assert "language" not in told
    assert (told["composer"], told["background"]) == ("B", "Old.")
    assert told["summary_nen"] == [{"language": "French", "summary": "Vieux. Pour danser."}]
    assert from_clamp3_line(line, keep_id=True)["id"] == "pdmx/a"


def test_summaries_join_the_files_of_several_manifests():
    paths = ("m/a.mtf", "s/a.abc", "f/a.npy", "s/c.abc")
    lines = [{"id": "p/b", "filepaths": ["m/b.mtf"], "title": "B", "artists": "X"}]
    lines += [{"id": f"p/{path[2]}", "filepaths": [path], "title": "T"} for path in paths]
    row = {"summary_en": "E.", "language": "German", "code": "de", "summary": "D."}
    first, second = with_summaries(lines, {"p/a": row, "p/b": row})
    assert first["filepaths"] == ["s/a.abc", "m/a.mtf"]
    assert (first["id"], second["id"], second["composer"]) == ("p/a", "p/b", "X")
    assert first["summary_en"] == ["E."]
    assert first["summary_nen"] == [{"language": "German", "summary": "D."}]


def chances(line, english, others):
    """CLaMP 2's rule, spelled out: the chance of each set of lines that can be said."""
    fields = [line[key] for key in FIELDS[:8]]
    texts = [text for value in fields for text in (value if isinstance(value, list) else [value])]
    rows = [row for text in texts for row in text.split("\n")]
    expected = Counter()
    for picked in range(2 ** len(rows)):
        kept = [row for place, row in enumerate(rows) if picked >> place & 1] or rows
        expected[frozenset(kept)] += 0.5 / 2 ** len(rows)
    for text in english:
        expected[frozenset([text])] += 0.25 / len(english)
    for text in others:
        expected[frozenset([text])] += 0.25 / len(others)
    return expected


def test_clamp2s_text_dropout_on_its_own_manifest(tmp_path):
    small = LISTS | {"lyrics": "La.\nLi.", "genres": ["g"], "tags": ["t"], "instruments": ["i"]}
    write_jsonl(tmp_path / "m.jsonl", [small])
    (line,) = read_manifest(tmp_path / "m.jsonl")
    count = 12_000
    dice = map(np.random.default_rng, range(count))
    said = Counter(frozenset(dropped_text(line, each, "clamp2").split("\n")) for each in dice)
    expected = chances(small, ["One.", "Two."], ["Eins.", "Un."])
    assert set(said) <= set(expected)
    for words in (["One."], ["Two."], ["Eins."], ["Un."]):
        assert abs(said[frozenset(words)] / count - 0.125) < 0.015
    spread = sum(abs(said[words] / count - chance) for words, chance in expected.items()) / 2
    assert spread < 0.1


def test_clamp2s_text_dropout_with_single_summaries(tmp_path):
    write_jsonl(tmp_path / "m.jsonl", [to_clamp3_line(FULL)])
    (line,) = read_manifest(tmp_path / "m.jsonl")
    dice = map(np.random.default_rng, range(4000))
    said = Counter(dropped_text(line, each, "clamp2") for each in dice)
    assert abs(said["English summary."] / 4000 - 0.25) < 0.03
    assert abs(said["Deutsche Zusammenfassung."] / 4000 - 0.25) < 0.03
