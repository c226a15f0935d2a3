"""The catalogue: all collections, every piece in its part and its split, the same bytes again."""

import logging
from collections import Counter

import pyarrow.parquet as pq
import pytest
from pdmx_rows import BARE, FULL, row, write_csv
from samples import SAMPLES, json_lines, put

from clamp3.config import ParseConfig, Splits
from clamp3.data.catalog import SCHEMA, build_catalog
from clamp3.data.rejected import read_rejected
from clamp3.data.shards import part_names, shard_of
from clamp3.data.splits import split_of
from clamp3.errors import DataError
from clamp3.files import read_table, sha256_of

SPLITS = Splits(validation_share=0.2, test_share=0.3)
WIKIMT = {"id": "abc", "title": "T", "leadsheet": "X:1\nK:C\nCDE|"}
MIDICAPS = {"location": "lmd_full/1/a.mid", "caption": "c", "test_set": True}
COLLECTIONS = {
    "wikimt_x": {"layout": "wikimt_x", "path": "w.jsonl"},
    "midicaps": {"layout": "midicaps", "path": "m.json"},
}
NAMES = [f"Qm{number:02d}" for number in range(40)]


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "w.jsonl", json_lines([WIKIMT]))
    put(tmp_path, "m.json", json_lines([MIDICAPS, MIDICAPS | {"test_set": False}]))
    rows = [row(name, FULL) for name in reversed(NAMES)] + [row("Qm99", BARE)]

    def run(out="catalog", rows=rows, shards=3, **changes):
        settings = {"subset": "all", "check_files": False, "max_rejected_share": 0.2}
        settings |= {"collections": COLLECTIONS} | changes
        folder = tmp_path / out
        parts = [folder / name for name in part_names(shards)]
        build_catalog(
            write_csv(tmp_path / "PDMX.csv", rows),
            parts,
            folder / "rejected.parquet",
            parse=ParseConfig(**settings),
            folder="data/pdmx",
            splits=SPLITS,
            seed=5,
        )
        return parts

    return run


def test_every_piece_lies_in_its_part_in_order(build):
    parts = build()
    seen = []
    for number, part in enumerate(parts):
        ids = read_table(part, columns=["id"])["id"].to_pylist()
        assert ids == sorted(ids)
        assert {shard_of(name, 3) for name in ids} <= {number}
        seen += ids
    expected = [*(f"pdmx/{name}" for name in NAMES), "wikimt_x/abc", "midicaps/a"]
    assert sorted(seen) == sorted(expected)


def test_schema_collections_and_splits(build):
    table = read_table(build())
    assert table.schema.equals(SCHEMA)
    for piece in table.to_pylist():
        assert piece["id"].startswith(piece["collection"] + "/")
        pdmx = piece["collection"] == "pdmx"
        assert piece["split"] == (split_of(piece["id"], SPLITS, 5) if pdmx else "test")
        assert "" not in piece.values()
        for name in ("genres", "tags", "instruments", "programs", "subsets"):
            assert isinstance(piece[name], list)
    assert set(table["split"].to_pylist()) == {"train", "validation", "test"}


def test_every_layout_fits_the_schema(build, tmp_path):
    samples = {name: make(tmp_path / name) for name, make in SAMPLES.items()}
    given = {name: {"layout": s.layout, "path": str(s.path)} for name, s in samples.items()}
    table = read_table(build(collections=given))
    assert table.schema.equals(SCHEMA)
    kept = Counter(table["collection"].to_pylist())
    for name, sample in samples.items():
        assert kept[name] == sample.rows - sample.left_out, name


def test_books_balance(build, caplog):
    with caplog.at_level(logging.INFO):
        build(subset="rated")
    assert caplog.messages == [
        "parse pdmx: 41 in, 40 out, 0 rejected, 1 left out",
        "parse wikimt_x: 1 in, 1 out, 0 rejected",
        "parse midicaps: 2 in, 1 out, 0 rejected, 1 left out",
    ]


def test_rejects_are_written(build, tmp_path):
    build()
    (reject,) = read_rejected(tmp_path / "catalog" / "rejected.parquet")
    assert (reject.id, reject.stage, reject.kind) == ("pdmx/Qm99", "parse", "no_text")


def test_the_same_input_gives_the_same_bytes_whatever_its_order(build, tmp_path):
    first = build("one")
    second = build("two", rows=[row(name, FULL) for name in NAMES] + [row("Qm99", BARE)])
    assert [sha256_of(part) for part in first] == [sha256_of(part) for part in second]


def test_too_many_rejects_fail_after_the_tables_are_written(build, tmp_path):
    with pytest.raises(DataError, match=r"parse pdmx: .*missing_files.*unpacked"):
        build(check_files=True, collections={})
    assert len(read_rejected(tmp_path / "catalog" / "rejected.parquet")) == 41
    with pytest.raises(DataError, match=r"parse pdmx: 41 in, 40 out, 1 rejected: 2\.4% rejected"):
        build(max_rejected_share=0.0)


def test_a_small_collection_is_not_hidden_by_a_large_one(build, tmp_path):
    put(tmp_path, "w.jsonl", json_lines([WIKIMT | {"leadsheet": ""}]))
    with pytest.raises(DataError, match="parse wikimt_x: 1 in, 0 out, 1 rejected"):
        build()


def test_evaluation_collections_may_be_left_out(build):
    table = read_table(build(collections={}))
    assert set(table["collection"].to_pylist()) == {"pdmx"}


def test_a_layout_may_stand_under_several_names(build, tmp_path):
    put(tmp_path, "genres/blues/b_1.mid", "MThd")
    given = {"layout": "labelled_performances", "path": "genres"}
    table = read_table(build(collections={"vgmidi": given, "pianist8": given}))
    rows = [row for row in table.to_pylist() if row["collection"] != "pdmx"]
    assert sorted(row["id"] for row in rows) == ["pianist8/blues_b_1", "vgmidi/blues_b_1"]
    assert {row["mid_path"] for row in rows} == {"genres/blues/b_1.mid"}
    assert [row["genres"] for row in rows] == [["blues"]] * 2


@pytest.mark.parametrize("name", ["pdmx", "Wiki", "a-b", "a/b", ""])
def test_names_of_collections_must_be_fit_for_files(build, name):
    with pytest.raises(ValueError, match="is no name for one"):
        build(collections={name: COLLECTIONS["wikimt_x"]})


def test_empty_parts_have_the_schema(build):
    parts = build(rows=[row("Qm1", FULL)], shards=64)
    assert len(parts) == 64
    assert all(pq.read_schema(part).equals(SCHEMA) for part in parts)
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 3


def test_a_missing_evaluation_file_is_named(build):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file; expected WikiMT-X"):
        build(collections={"w": {"layout": "wikimt_x", "path": "none.jsonl"}})
