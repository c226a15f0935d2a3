"""Manifests hold every piece once, and the books of the pipeline balance."""

import json

import pyarrow as pa
import pytest
from samples import CLAMP3, reading

from clamp3.config import ManifestConfig
from clamp3.data.catalog import SCHEMA
from clamp3.data.manifests import build_manifests, manifest_names, read_manifest
from clamp3.data.piece_reader import PieceReader
from clamp3.data.rejected import Rejected, read_rejected, write_rejected
from clamp3.errors import DataError
from clamp3.files import sha256_of, write_table

KEYS = list(CLAMP3)
COLLECTIONS = ["pdmx", "wikimt_x", "midicaps"]
LISTS = {"genres", "tags", "instruments", "programs", "subsets"}


def piece(name, split="test", **values):
    row = {key: [] if key in LISTS else None for key in SCHEMA.names}
    return row | {"id": name, "collection": name.split("/")[0], "split": split} | values


PIECES = [
    piece("pdmx/Qm1", "train", mxl_path="a.mxl", mid_path="a.mid", title="A", analysis="X."),
    piece("pdmx/Qm2", "train", mxl_path="b.mxl", mid_path="b.mid", genres=["folk"]),
    piece("pdmx/Qm3", "test", mxl_path="c.mxl", mid_path="c.mid"),
    piece("pdmx/Qm4", "validation", mxl_path="d.mxl"),
    piece("wikimt_x/w", leadsheet="X:1"),
    piece("midicaps/m", mid_path="m.mid", language="Klingon"),
]
REJECTED = [
    Rejected("pdmx/row 7", "parse", "bad_row", "61 cells"),
    Rejected("pdmx/Qm2", "abc", "no_notes", "silence"),
    Rejected("pdmx/Qm3", "interleave", "unequal_bars", "1 and 2"),
    Rejected("pdmx/Qm2", "recordings", "too_short", "0.1 s"),
]
STORED = {
    "interleaved": ["pdmx/Qm1", "pdmx/Qm4", "wikimt_x/w"],
    "mtf": ["pdmx/Qm1", "pdmx/Qm2", "pdmx/Qm3", "midicaps/m"],
    "features": ["pdmx/Qm3", "pdmx/Qm1"],
}
COLUMN = {"interleaved": "abc", "mtf": "mtf", "features": "features"}


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(
        out="data/manifests", pieces=PIECES, rejected=REJECTED, collections=COLLECTIONS, **stored
    ):
        columns = {name: [row[name] for row in pieces] for name in SCHEMA.names}
        write_table("data/catalog/part.parquet", pa.table(columns, schema=SCHEMA))
        write_rejected("data/rejected.parquet", rejected)
        parts = {}
        for store, ids in (STORED | stored).items():
            parts[store] = []
            for number, chosen in enumerate((ids[::2], ids[1::2])):
                part = tmp_path.joinpath("data", store, f"part-{number:05d}-of-00002.parquet")
                rows = {"id": pa.array(chosen, pa.string()), COLUMN[store]: ["text"] * len(chosen)}
                write_table(part, pa.table(rows))
                parts[store].append(part.relative_to(tmp_path))
        build_manifests(
            [tmp_path / "data/catalog/part.parquet"],
            tmp_path / out,
            collections=collections,
            rejected=["data/rejected.parquet"],
            settings=ManifestConfig(language="English"),
            **parts,
        )
        return tmp_path / out

    return run


def lines(folder, name):
    text = (folder / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_is_one_file_for_each_collection_modality_and_split(build):
    folder = build()
    assert len(manifest_names(COLLECTIONS)) == 3 * 3 + 3 + 3
    found = {path.name for path in folder.iterdir()}
    assert found == {*manifest_names(COLLECTIONS), "counts.json", "rejected.parquet"}
    names = manifest_names(COLLECTIONS)
    ids = {name: [row["id"] for row in lines(folder, name[:-6])] for name in names}
    assert {name: rows for name, rows in ids.items() if rows} == {
        "pdmx-abc-train.jsonl": ["pdmx/Qm1"],
        "pdmx-abc-validation.jsonl": ["pdmx/Qm4"],
        "pdmx-mtf-train.jsonl": ["pdmx/Qm1", "pdmx/Qm2"],
        "pdmx-mtf-test.jsonl": ["pdmx/Qm3"],
        "pdmx-audio-train.jsonl": ["pdmx/Qm1"],
        "pdmx-audio-test.jsonl": ["pdmx/Qm3"],
        "wikimt_x-abc-test.jsonl": ["wikimt_x/w"],
        "midicaps-mtf-test.jsonl": ["midicaps/m"],
    }


def test_lines_have_the_training_layout(build):
    folder = build()
    (line,) = lines(folder, "pdmx-abc-train")
    assert list(line) == KEYS
    assert line["filepaths"] == ["data/interleaved/pdmx/Qm1.abc"]
    assert (line["title"], line["analysis"], line["background"]) == ("A", "X.", None)
    assert (line["language"], line["genres"], line["translations"]) == ("English", [], {})
    assert lines(folder, "midicaps-mtf-test")[0]["language"] == "Klingon"
    assert lines(folder, "pdmx-mtf-train")[1]["genres"] == ["folk"]


def test_a_reader_finds_what_the_lines_name(build):
    reader = PieceReader()
    for name in ("pdmx-abc-train", "wikimt_x-abc-test", "midicaps-mtf-test"):
        for line in lines(build(), name):
            assert reader.read(line["filepaths"][0]) == "text"


def test_counts_add_up(build):
    counts = json.loads((build() / "counts.json").read_text())
    assert counts["pdmx"] == {
        "pieces": 4,
        "rejected": {"parse": {"bad_row": 1}},
        "abc": {
            "in": 4,
            "out": {"train": 1, "validation": 1, "test": 0},
            "rejected": {"abc": {"no_notes": 1}, "interleave": {"unequal_bars": 1}},
        },
        "mtf": {"in": 3, "out": {"train": 2, "validation": 0, "test": 1}, "rejected": {}},
        "audio": {
            "in": 3,
            "out": {"train": 1, "validation": 0, "test": 1},
            "rejected": {"recordings": {"too_short": 1}},
        },
    }
    assert counts["wikimt_x"]["abc"] == {"in": 1, "out": {"test": 1}, "rejected": {}}
    assert counts["midicaps"]["abc"]["in"] == 0
    for books in counts.values():
        for modality in ("abc", "mtf", "audio"):
            lost = [n for kinds in books[modality]["rejected"].values() for n in kinds.values()]
            assert books[modality]["in"] == sum(books[modality]["out"].values()) + sum(lost)


def test_all_rejects_are_kept_in_one_table(build):
    assert read_rejected(build() / "rejected.parquet") == sorted(REJECTED)


def test_there_may_be_no_recordings(build):
    folder = build(features=[], rejected=REJECTED[:3])
    assert lines(folder, "pdmx-audio-train") == []
    assert json.loads((folder / "counts.json").read_text())["pdmx"]["audio"]["in"] == 0


def test_the_same_input_gives_the_same_bytes(build):
    one, two = build("one"), build("two", rejected=REJECTED[::-1], mtf=STORED["mtf"][::-1])
    for name in [*manifest_names(COLLECTIONS), "counts.json", "rejected.parquet"]:
        assert sha256_of(one / name) == sha256_of(two / name), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mtf": STORED["mtf"][1:]}, "mtf: 1 pieces came in, but are neither .*: pdmx/Qm1"),
        ({"rejected": REJECTED[:2]}, "abc: 1 pieces came in.*pdmx/Qm3"),
        ({"interleaved": [*STORED["interleaved"], "pdmx/Qm2"]}, "in the store and rejected.*Qm2"),
        ({"mtf": [*STORED["mtf"], "pdmx/Qm9"]}, "mtf: 1 pieces .* the catalogue names none.*Qm9"),
        ({"features": ["pdmx/Qm9"]}, "audio: 1 pieces .* the catalogue names none: pdmx/Qm9"),
        ({"interleaved": [*STORED["interleaved"], "midicaps/m"]}, "catalogue names none: midicaps"),
        ({"mtf": [*STORED["mtf"], "pdmx/Qm1"]}, "pdmx/Qm1 stands in two rows"),
        ({"pieces": [piece("lakh/1")]}, "the catalogue has lakh/1 in lakh, test; known are pdmx"),
    ],
)
def test_books_that_do_not_balance_are_an_error(build, tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        build(**change)
    assert not (tmp_path / "data/manifests").exists()


@pytest.fixture
def read(tmp_path):
    return reading(read_manifest, tmp_path / "train.jsonl")


def test_own_lines_come_back(build):
    folder = build()
    for name in manifest_names(COLLECTIONS):
        rows = read_manifest(folder / name)
        assert rows == lines(folder, name[:-6])
        assert all(list(row) == KEYS for row in rows)


def test_a_line_of_the_original_training_data(read):
    assert read(CLAMP3) == [CLAMP3]


def test_a_line_of_the_lora_project(read):
    (row,) = read({"id": "Qm1", "filepaths": ["a.abc"], "analysis": "x", "language": "en"})
    assert list(row) == KEYS
    assert row["analysis"] == "x"
    assert row["title"] is row["genres"] is None
    assert row["translations"] == {}


def test_what_is_missing_or_empty(read):
    (row,) = read({"filepaths": "audio/a.b.npy", "translations": None, "title": "", "x": 1})
    assert row["id"] == "audio/a.b"
    assert row["filepaths"] == ["audio/a.b.npy"]
    assert (row["translations"], row["title"], row["x"]) == ({}, None, 1)


def test_lists_and_texts_stand_in_for_one_another(read):
    (row,) = read(
        {"filepaths": ["a.abc"], "genres": "jazz", "tags": [None, "a"], "scene": ["a", "b"]}
    )
    assert (row["genres"], row["tags"], row["scene"]) == (["jazz"], ["a"], "a\nb")


def test_an_empty_file_and_empty_lines(read):
    assert read() == []
    assert len(read({"filepaths": ["a.abc"]}, "", {"filepaths": ["b.abc"]}, "")) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{nonsense", "not JSON"),
        ("[1]", "list, expected an object"),
        ({"id": "x"}, "no filepaths"),
        ({"filepaths": []}, "no filepaths"),
        ({"filepaths": [""]}, "expected a list of paths"),
        ({"filepaths": [5]}, "expected a list of paths"),
        ({"filepaths": ["a"], "analysis": 5}, "analysis is 5, expected a list of texts"),
        ({"filepaths": ["a"], "tags": [5]}, "tags is"),
        ({"filepaths": ["a"], "translations": ["x"]}, "translations is list"),
    ],
)
def test_bad_lines_are_named(read, row, message):
    with pytest.raises(DataError, match=rf"train\.jsonl, line 2: .*{message}"):
        read({"filepaths": ["a.abc"]}, row)


@pytest.mark.parametrize(
    ("row", "guess"),
    [
        ({"id": "x", "leadsheet": "X:1"}, "WikiMT-X"),
        ({"location": "a.mid", "caption": "x"}, "MidiCaps"),
        ("path,metadata,mxl,is_user_pro", "PDMX.csv"),
        ('[{"filepaths": ["a.abc"]}]', "a JSON array"),
    ],
)
def test_other_files_are_recognised(read, row, guess):
    with pytest.raises(DataError, match=rf"line 1: .*; it looks like .*{guess}"):
        read(row)


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="no such file; expected a training manifest"):
        read_manifest(tmp_path / "none.jsonl")
