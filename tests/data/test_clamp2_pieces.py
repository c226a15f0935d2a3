"""The manifests that CLaMP 2 is trained on: made of the pipeline's, and a person's own."""

import pyarrow as pa
import pytest
from samples import json_lines, put

from clamp3.data.clamp2_pieces import english_summary, read_clamp2, write_splits
from clamp3.data.pairs import load_pairs
from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_jsonl, write_table

SUMMARY = {"summary_en": "A jig.", "language": "German", "summary": "Eine Jig."}


def pipeline(folder):
    """Manifests of two kinds and three splits, and summaries of all pieces but `p/none`."""
    ids = {"train": ["p/b", "p/a", "p/none"], "validation": ["p/c"], "test": ["p/d"]}
    manifests = []
    for kind, store in (("abc", "interleaved"), ("mtf", "mtf")):
        for split, names in ids.items():
            manifests.append(folder / f"pdmx-{kind}-{split}.jsonl")
            own = names if kind == "abc" else names[:1]
            lines = [
                {"id": name, "title": name, "filepaths": [f"data/{store}/{name}.{kind}"]}
                for name in own
            ]
            write_jsonl(manifests[-1], lines)
    kept = [name for names in ids.values() for name in names if name != "p/none"]
    table = pa.Table.from_pylist([{"id": name} | SUMMARY for name in kept])
    write_table(folder / "summaries.parquet", table)
    return manifests, folder / "summaries.parquet"


def lines_of(path):
    return [line for _, line in read_jsonl(path)]


def test_the_pipelines_pieces_with_a_summary(tmp_path):
    manifests, summaries = pipeline(tmp_path)
    write_splits(tmp_path / "out", manifests=manifests, summaries=summaries)
    found = lines_of(tmp_path / "out/train.jsonl")
    assert [line["id"] for line in found] == ["p/a", "p/b"]
    assert found[1]["filepaths"] == ["data/interleaved/p/b.abc", "data/mtf/p/b.mtf"]
    assert found[0]["summary_en"] == ["A jig."]
    assert found[0]["summary_nen"] == [{"language": "German", "summary": "Eine Jig."}]
    others = [lines_of(tmp_path / f"out/{split}.jsonl") for split in ("validation", "test")]
    assert [[line["id"] for line in lines] for lines in others] == [["p/c"], ["p/d"]]


def test_a_persons_own_as_the_originals_have_them(tmp_path, monkeypatch):
    own = tmp_path / "own"
    put(own, "music/a.abc", "X:1\n")
    put(tmp_path, "here.mtf", "ticks_per_beat 480\n")
    monkeypatch.chdir(tmp_path)
    lines = [
        {"title": "A", "composer": None, "genres": None, "tags": "one", "lyrics": ["la", "lo"]}
        | {"summary_en": "Only one.", "summary_nen": {"language": "Welsh", "summary": "Un."}}
        | {"filepaths": ["music/a.abc", "music/a.mid"]},
        {"filepaths": "here.mtf", "summary_nen": None, "title": 7, "mood": "calm"},
        {"filepaths": ["here.mtf"], "summary_en": ["E.", "F."]},
        {"filepaths": ["x.mp3"]},
        {"title": "without"},
    ]
    write_jsonl(own / "train.jsonl", lines)
    write_splits(tmp_path / "out", given=[own / "train.jsonl"])
    first, second, third = lines_of(tmp_path / "out/train.jsonl")
    assert first["filepaths"] == [str(own / "music/a.abc")]
    assert (first["tags"], first["lyrics"], first["genres"]) == (["one"], "la\nlo", [])
    assert (first["summary_en"], first["summary_nen"][0]["language"]) == (["Only one."], "Welsh")
    assert (second["filepaths"], second["title"], second["mood"]) == (["here.mtf"], None, "calm")
    assert [line["id"] for line in (first, second, third)] == ["music/a", "here", "here-2"]
    assert (tmp_path / "out/test.jsonl").read_text() == ""
    written = tmp_path / "out/train.jsonl"
    assert [pair.id for pair in load_pairs([written])] == ["here", "here-2", "music/a"]
    write_splits(tmp_path / "again", given=sorted((tmp_path / "out").iterdir()))
    assert (tmp_path / "again/train.jsonl").read_bytes() == written.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train.jsonl: no such file; expected a training manifest of CLaMP 2"),
        ('{"filepaths": ["a.abc"]}\n[1]\n', "line 2: .*Expected a line of a CLaMP 2 manifest"),
        ("nonsense\n", "line 1: .*Expected a line of a CLaMP 2 manifest"),
    ],
)
def test_what_is_no_manifest_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        write_splits(tmp_path / "out", given=[tmp_path / "train.jsonl"])


def test_the_first_english_summary():
    assert english_summary({"summary_en": ["One.", "Two."]}) == "One."
    assert english_summary({"summary_en": "One."}) == "One."
    assert [english_summary({"summary_en": value}) for value in (None, [], "")] == [None] * 3


def test_ids_of_equal_files_never_meet(tmp_path):
    lines = [{"filepaths": [name]} for name in ("a.abc", "a-2.abc", "a.abc", "a.mtf", "a-2.abc")]
    path = put(tmp_path, "m.jsonl", json_lines(lines))
    ids = [line["id"] for line in read_clamp2(path)]
    assert len(set(ids)) == 5
