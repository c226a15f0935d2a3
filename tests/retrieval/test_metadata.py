"""What is known of pieces: heads of scores, tables of every kind, the store and the catalogue."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from clamp3.errors import DataError
from clamp3.files import write_table
from clamp3.retrieval.metadata import (
    facts_of,
    first_values,
    read_facts,
    read_scores,
    score_facts,
    telling_columns,
)


@pytest.mark.parametrize(
    ("field", "key", "tonic", "mode"),
    [
        ("G", "G major", "G", "major"),
        ("Bb", "B♭ major", "B♭", "major"),
        ("F#m", "F♯ minor", "F♯", "minor"),
        ("Amin", "A minor", "A", "minor"),
        ("A minor", "A minor", "A", "minor"),
        ("AMin", "A minor", "A", "minor"),
        ("Ador", "A dorian", "A", "dorian"),
        ("E Phrygian", "E phrygian", "E", "phrygian"),
        ("Dmix % as sung", "D mixolydian", "D", "mixolydian"),
        ("Cmaj", "C major", "C", "major"),
        ("G clef=treble", "G major", "G", "major"),
        ("Em octave=-1", "E minor", "E", "minor"),
        ("C exp _b", None, None, None),
        ("D treble", "D major", "D", "major"),
        ("", None, None, None),
        ("none", None, None, None),
        ("HP", None, None, None),
        ("Gwhat", None, None, None),
    ],
)
def test_the_key_of_a_score(field: str, key: str | None, tonic: str | None, mode: str | None):
    found = score_facts(f"X:1\nT:K\nK:{field}\nV:1 treble\n[K:C]CDEF|\nK:C\n")
    assert [found.get(name) for name in ("key", "tonic", "mode")] == [key, tonic, mode]


@pytest.mark.parametrize(
    ("field", "metre"),
    [
        ("6/8", "6/8"),
        ("C", "4/4"),
        ("C|", "2/2"),
        (" 3/4 % waltz", "3/4"),
        ("2+2+3/8", "2+2+3/8"),
        ("(2+3)/8", "2+3/8"),
        ("none", None),
        ("Cx", None),
    ],
)
def test_the_metre_of_a_score(field: str, metre: str | None):
    assert score_facts(f"L:1/8\nM:{field}\nK:C\nCDE|\nM:9/16\n").get("metre") == metre


def test_scores_of_a_folder_and_of_a_store(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.abc").write_text("M:6/8\nK:Em\nE|\n", encoding="utf-8")
    (tmp_path / "two.ABC").write_bytes(b"T:\xe9tude\nK:D\nD|\n")
    found = read_scores(tmp_path)
    assert found["a/one.abc"] == {"key": "E minor", "tonic": "E", "mode": "minor", "metre": "6/8"}
    assert found["two.ABC"]["key"] == "D major"
    table = pa.table({"id": ["p/1"], "abc": ["M:C\nK:G\nG|\n"]})
    write_table(tmp_path / "store/part-0.parquet", table)
    assert read_scores(tmp_path / "store")["p/1"]["metre"] == "4/4"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file \.abc"):
        read_scores(tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        read_scores(tmp_path / "nowhere")


ROWS = [
    {"id": "a/1", "composer": "Bach", "year": 1720, "genres": ["church", "choir"], "note": None},
    {"id": "a/2", "composer": "", "year": None, "genres": [], "note": "x"},
    {"id": "a/1", "composer": "Händel", "year": 1730, "genres": None, "note": "y"},
]


def test_the_same_table_in_every_format(tmp_path: Path):
    frame = pd.DataFrame(ROWS).drop(columns="genres")
    frame["year"] = frame["year"].astype("Int64").astype(str).replace("<NA>", "")
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    write_table(tmp_path / "t.parquet", pa.Table.from_pylist(ROWS))
    write_table(tmp_path / "parts/part-0.parquet", pa.Table.from_pylist(ROWS))
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet", "parts"):
        found = read_facts(tmp_path / name)
        assert list(found) == ["a/1", "a/2"], name
        lists = {} if name.endswith("sv") else {"genres": "church"}
        assert found["a/1"] == {"composer": "Bach", "year": "1720"} | lists, name
        assert found["a/2"] == {"note": "x"}, name


def test_only_what_is_asked_for(tmp_path: Path):
    write_table(tmp_path / "t.parquet", pa.Table.from_pylist(ROWS))
    found = read_facts(tmp_path / "t.parquet", ids={"a/1", "b"}, columns=("year", "no"))
    assert found == {"a/1": {"year": "1720"}}


def test_tables_that_say_nothing_are_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text("name,key\nx,C\n", encoding="utf-8")
    with pytest.raises(DataError, match="columns name, key; expected one of id, file, path"):
        read_facts(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"no part-\*\.parquet"):
        read_facts(tmp_path)
    with pytest.raises(DataError, match="no such table"):
        read_facts(tmp_path / "no.csv")


def test_ids_are_found_with_and_without_suffix_and_the_first_table_counts():
    tables = [{"a/1.abc": {"key": "C major"}}, {"a/1": {"key": "G major", "composer": "Bach"}}]
    found = facts_of(["a/1.mid", "a/2.mid", "a/1.abc"], tables)
    assert found == [
        {"key": "C major", "composer": "Bach"},
        {},
        {"key": "C major", "composer": "Bach"},
    ]
    assert tables[0] == {"a/1.abc": {"key": "C major"}}


def test_the_first_values_of_a_manifests_line():
    line = {"id": "a", "genres": ["folk", "x"], "tags": [], "artists": None, "translations": {}}
    assert first_values(line) == {"id": "a", "genres": "folk"}


def test_columns_that_tell_pieces_apart():
    keys = [f"p{row}" for row in range(20)] * 2
    facts = [
        {
            "title": "T",
            "id": key,
            "all": "same",
            "mode": ("major", "minor")[row % 2],
            "nearly": "x" if row else "y",
        }
        | ({"rare": ("a", "b")[row % 2]} if row < 9 else {})
        | ({"half": ("a", "b")[row % 2]} if row < 10 else {})
        for row, key in zip([*range(20)] * 2, keys, strict=True)
    ]
    assert telling_columns(facts, keys, 9) == ["mode", "nearly", "half"]
    assert telling_columns(facts, keys, 1) == ["mode"]
