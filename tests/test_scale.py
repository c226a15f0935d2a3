"""Corpora made for measuring are what they promise, and the table of costs is printed."""

import csv
import json
import sys
import zipfile
from collections import Counter

import pyarrow.parquet as pq
import pytest
from repository import ROOT, python

BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))

import made_bodies  # noqa: E402
import made_corpora  # noqa: E402
import scale  # noqa: E402

from clamp3.formats.musicxml import musicxml_to_abc  # noqa: E402

COUNT = 4


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "bodies"
    made_bodies.write_bodies(folder, COUNT)
    return folder


def files(folder, suffix):
    return {path.stem: path for path in folder.rglob(f"*.{suffix}")}


def test_bodies_are_real_files_of_three_kinds(bodies):
    kinds = {kind: sorted((bodies / kind).iterdir()) for kind in ("mxl", "mid", "band")}
    assert {kind: len(paths) for kind, paths in kinds.items()} == dict.fromkeys(kinds, COUNT)
    assert all(path.read_bytes().startswith(b"MThd") for path in kinds["mid"] + kinds["band"])
    assert (bodies / "model" / "config.json").is_file()


def test_every_body_is_dealt_as_often_as_every_other():
    dealt = list(made_corpora.deal(COUNT, 5 * COUNT, seed=0))
    assert set(Counter(dealt).values()) == {5}
    assert dealt == list(made_corpora.deal(COUNT, 5 * COUNT, seed=0))
    assert all(sorted(dealt[n : n + COUNT]) == list(range(COUNT)) for n in range(0, 20, COUNT))


def test_a_corpus_like_pdmx(bodies, tmp_path):
    made_corpora.write_pdmx(tmp_path / "pdmx", bodies, 3 * COUNT)
    with open(tmp_path / "pdmx" / "PDMX.csv", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len({row["path"] for row in rows}) == 3 * COUNT
    listed = (tmp_path / "pdmx" / made_corpora.LISTING).read_text().splitlines()
    numbers = dict(line.split("\t") for line in listed)
    for row in rows:
        for kind in ("mxl", "mid"):
            piece = tmp_path / "pdmx" / row[kind]
            number = int(numbers[f"pdmx/{piece.stem}"])
            assert piece.samefile(bodies / kind / f"{number:04d}.{kind}")


def test_a_corpus_like_lakh(bodies, tmp_path):
    made_corpora.write_lakh(tmp_path / "lakh", bodies, COUNT)
    lines = (tmp_path / "lakh" / "train.json").read_text(encoding="utf-8").splitlines()
    found = files(tmp_path / "lakh" / "lmd_full", "mid")
    named = [tmp_path / "lakh" / json.loads(line)["location"] for line in lines]
    assert sorted(named) == sorted(found.values())
    assert len(found) == COUNT
    assert {len(name) for name in found} == {32}


def test_vectors_and_pairs(tmp_path):
    made_corpora.write_vectors(tmp_path / "v.parquet", 30, 8)
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.num_rows == 30
    assert table.schema.field("embedding").type.list_size == 8
    made_corpora.write_pairs(tmp_path / "p.jsonl", 40)
    pairs = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    for texts, sizes in (
        (pairs, made_corpora.TEXT_BYTES),
        ([pair["translations"] for pair in pairs], made_corpora.TRANSLATED_BYTES),
    ):
        for key, size in sizes.items():
            mean = sum(len(text[key]) for text in texts) / len(texts)
            assert abs(mean / size - 1) < 0.1, key


def test_one_large_score_takes_the_place_of_one_piece(bodies, tmp_path):
    made_corpora.write_pdmx(tmp_path, bodies, 2)
    score, other = sorted((tmp_path / "mxl").rglob("*.mxl"))
    before = other.read_bytes(), {path: path.read_bytes() for path in bodies.rglob("*.mxl")}
    made_bodies.make_big(score, bodies, 10**6)
    with zipfile.ZipFile(score) as archive:
        size = sum(member.file_size for member in archive.infolist())
    assert 0.7e6 < size < 1.3e6
    assert len(musicxml_to_abc(score)) > 3 * len(musicxml_to_abc(other))
    assert before == (other.read_bytes(), {path: path.read_bytes() for path in before[1]})


def test_the_line_through_two_runs():
    few, many = scale.Cost(1, cpu=2.5), scale.Cost(4, cpu=28.0)
    line = scale.line_through((few, 50), (many, 2000))
    assert (line.start, line.per_piece, line.known) == (2.0, pytest.approx(10.0), True)
    assert not scale.line_through((few, 50), (scale.Cost(1, cpu=2.6), 60)).known


def test_the_table_is_printed(bodies, tmp_path):
    words = "scale.py --rounds 1 --pieces 60 --per-part 30 --steps parse abc --no-skew --bodies"
    told = python(*words.split(" "), bodies, "--folder", tmp_path, cwd=BENCHMARKS)
    lines = [line.split() for line in told.splitlines()]
    assert ["parse", "60", "2", "1", "60"] in [line[:5] for line in lines]
    assert ["abc", "60", "2", "2", "60"] in [line[:5] for line in lines]
    assert list(tmp_path.iterdir()) == []
