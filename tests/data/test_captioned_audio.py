"""Any folder of recordings with captions: CSV, JSON lines, rejects, splits, tables, manifests."""

from collections import Counter

import pyarrow.parquet as pq
import pytest
from samples import json_lines, put

from clamp3.config import Splits
from clamp3.data.captioned_audio import parse_captioned_audio, write_captioned_audio
from clamp3.data.manifests import read_manifest
from clamp3.data.rejected import read_rejected
from clamp3.data.shards import shard_of
from clamp3.data.splits import split_of
from clamp3.errors import DataError

SPLITS = Splits(validation_share=0.1, test_share=0.1)


@pytest.fixture
def audio(tmp_path):
    for name in ("a.wav", "b/c.mp3", "d.flac"):
        put(tmp_path, f"audio/{name}", "sound")
    return tmp_path / "audio"


def test_a_csv_with_broken_rows(tmp_path, audio):
    rows = [
        (b'a.wav,"calm,\n slow",One\n', None),
        (b"b/c.mp3,loud,\n", None),
        (b"./d.flac, ,Three\n", "no_text"),
        (b"gone.wav,sad,\n", "missing_files"),
        (b"a.mp3,short\n", "bad_row"),
        (b"../up.wav,out,\n", "bad_value"),
        (b"a.wav,again,\n", "duplicate_id"),
        (b"\n", None),
        (b"d.flac,caf\xe9,\n", "bad_row"),
        (b",nothing,\n", "bad_value"),
    ]
    table = b"file,caption,title\n" + b"".join(row for row, _ in rows)
    parsed = parse_captioned_audio(put(tmp_path, "captions.csv", table), audio, "mine")
    assert parsed.columns == {
        "id": ["mine/a", "mine/b/c"],
        "audio_path": [f"{audio}/a.wav", f"{audio}/b/c.mp3"],
        "title": ["One", None],
        "caption": ["calm, slow", "loud"],
    }
    found = {row.reason.split(":")[0]: row.kind for row in parsed.rejected}
    assert found == {f"row {n}": kind for n, (_, kind) in enumerate(rows, start=2) if kind}
    assert parsed.rows_in == 9


def test_json_lines_with_other_names_and_several_captions(tmp_path, audio):
    rows = [
        ({"path": "a.wav", "text": "calm", "n": 1}, None),
        ({"path": "a.wav", "text": "slow\nand soft", "n": "two"}, None),
        ({"path": "a.wav", "text": "again", "n": 1}, "duplicate_id"),
        ({"path": 3, "text": "x", "n": 4}, "bad_value"),
        ({"path": "d.flac", "text": ["x"], "n": 5}, "bad_value"),
        ({"path": "d.flac", "text": "x"}, "bad_value"),
        ('"oops"', "bad_row"),
    ]
    path = put(tmp_path, "captions.jsonl", json_lines(line for line, _ in rows))
    how = {"audio": "path", "caption": "text", "name": "n"}
    parsed = parse_captioned_audio(path, audio, "mine", **how)
    assert parsed.columns["id"] == ["mine/1", "mine/two"]
    assert parsed.columns["caption"] == ["calm", "slow and soft"]
    found = {row.reason.split(":")[0]: row.kind for row in parsed.rejected}
    assert found == {f"line {n}": kind for n, (_, kind) in enumerate(rows, start=1) if kind}


def test_another_file_is_told(tmp_path, audio):
    path = put(tmp_path, "x.jsonl", '{"file": "a.wav"}\n')
    with pytest.raises(DataError, match="no line is an object with caption and file"):
        parse_captioned_audio(path, audio, "mine")
    path = put(tmp_path, "x.csv", "name;caption\na;b\n")
    with pytest.raises(DataError, match=r"no column file, caption.*semicolons"):
        parse_captioned_audio(path, audio, "mine")
    with pytest.raises(DataError, match="no such file; expected captions of recordings"):
        parse_captioned_audio(tmp_path / "none.csv", audio, "mine")


@pytest.fixture
def parsed(tmp_path):
    names = {f"s{number}.wav": f"sound {number}" for number in range(200)}
    for name in names:
        put(tmp_path, name, "x")
    lines = [{"file": name, "caption": caption} for name, caption in names.items()]
    path = put(tmp_path, "captions.jsonl", json_lines([*lines, "oops"]))
    return parse_captioned_audio(path, tmp_path, "mine")


def write(parsed, folder, **changes):
    parts = [folder / f"part-{n}.parquet" for n in range(3)]
    how = {"splits": SPLITS, "seed": 4, "max_rejected_share": 0.1} | changes
    write_captioned_audio(parsed, "mine", parts, folder, folder / "rejected.parquet", **how)
    return parts


def test_tables_and_manifests_say_the_same(parsed, tmp_path):
    folder = tmp_path / "out"
    parts = write(parsed, folder)
    rows = []
    for number, part in enumerate(parts):
        own = pq.read_table(part).to_pylist()
        assert [row["id"] for row in own] == sorted(row["id"] for row in own)
        assert {shard_of(row["id"], 3) for row in own} == {number}
        rows += own
    assert sorted(row["id"] for row in rows) == sorted(parsed.columns["id"])
    found = {}
    for split in ("train", "validation", "test"):
        lines = read_manifest(folder / f"mine-{split}.jsonl")
        found |= {line["id"]: (split, *line["filepaths"], line["description"]) for line in lines}
    assert found == {row["id"]: (row["split"], row["audio_path"], row["caption"]) for row in rows}
    assert all(row["split"] == split_of(row["id"], SPLITS, 4) for row in rows)
    counts = Counter(row["split"] for row in rows)
    assert counts["train"] > 140
    assert 8 < counts["validation"] < 35
    assert 8 < counts["test"] < 35
    assert [row.kind for row in read_rejected(folder / "rejected.parquet")] == ["bad_row"]


def test_the_same_again_and_too_many_rejects(parsed, tmp_path):
    first, again = write(parsed, tmp_path / "a"), write(parsed, tmp_path / "b")
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with pytest.raises(DataError, match="parse mine: 201 in, 200 out, 1 rejected"):
        write(parsed, tmp_path / "c", max_rejected_share=0.001)
    assert (tmp_path / "c" / "rejected.parquet").is_file()


def test_nothing_usable_gives_empty_tables(parsed, tmp_path):
    nothing = parsed._replace(columns={}, rejected=[], rows_in=2, left_out=2)
    parts = write(nothing, tmp_path / "out")
    assert all(pq.read_table(part).num_rows == 0 for part in parts)
    assert read_manifest(tmp_path / "out" / "mine-train.jsonl") == []
