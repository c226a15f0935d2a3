"""Training manifests from elsewhere: CLaMP 3's and CLaMP 2's lines, and what is wrong with them."""

import pytest
from samples import CLAMP3, SAMPLES, fault, put, reading

from clamp3.data.m4_rag import parse_m4_rag
from clamp3.errors import DataError

CLAMP2 = {
    "filepaths": ["abc/2.abc"],
    "title": "Jig",
    "key": "G",
    "summary_en": ["A jig.", "A dance."],
    "summary_nen": [{"language": "Finnish", "summary": "Jigi."}],
}


@pytest.fixture
def parse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("abc/1.abc", "mtf/1.mtf", "abc/2.abc"):
        put(tmp_path, name, "X:1")
    return reading(parse_m4_rag, tmp_path / "train.jsonl")


def test_lines_of_both_models(parse):
    parsed = parse(CLAMP3, CLAMP2)
    assert parsed.columns["id"] == ["-dQw4w9WgXc", "abc/2"]
    first, second = parsed.columns["line"]
    assert first == CLAMP3
    assert second["summary_nen"] == CLAMP2["summary_nen"]
    assert (second["key"], second["analysis"], second["translations"]) == ("G", None, {})
    assert (parsed.rejected, parsed.rows_in, parsed.left_out) == ([], 2, 0)


def test_one_summary_need_not_stand_in_a_list(parse):
    foreign = {"language": "Finnish", "summary": "Jigi."}
    parsed = parse(CLAMP2 | {"summary_en": "A jig.", "summary_nen": foreign})
    assert parsed.rejected == []
    assert parsed.columns["line"][0]["summary_nen"] == foreign


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        ("{", "bad_row", "not JSON"),
        (CLAMP3, "duplicate_id", "earlier"),
        (CLAMP2 | {"filepaths": []}, "no_music", "no filepaths"),
        (CLAMP2 | {"filepaths": [5]}, "bad_value", "list of paths"),
        (CLAMP2 | {"filepaths": ["x.mid"]}, "bad_value", "expected files in .abc, .mtf or .npy"),
        (CLAMP2 | {"filepaths": ["abc/2.abc", "x.mtf"]}, "missing_files", "x.mtf not found"),
        (CLAMP2 | {"summary_en": [1]}, "bad_value", "summary_en"),
        (CLAMP2 | {"summary_nen": ["Jigi."]}, "bad_value", "summary_nen"),
        (CLAMP2 | {"summary_nen": [{"language": "Finnish"}]}, "bad_value", "language and summary"),
        (CLAMP2 | {"tags": [1]}, "bad_value", "tags is"),
        (CLAMP2 | {"translations": ["x"]}, "bad_value", "translations is list"),
        ({"filepaths": ["abc/2.abc"], "language": "English"}, "no_text", "no title"),
    ],
)
def test_faults_cost_their_line(parse, line, kind, reason):
    parsed = parse(CLAMP3, line)
    assert parsed.columns["id"] == ["-dQw4w9WgXc"]
    *found, why = fault(parsed)
    assert found == [kind, "line 2"]
    assert reason in why


def test_files_are_looked_for_unless_told_otherwise(parse):
    lost = CLAMP2 | {"filepaths": ["x.abc"]}
    assert parse(CLAMP3, lost).columns["id"] == ["-dQw4w9WgXc"]
    assert parse(CLAMP3, lost, check_files=False).columns["id"] == ["-dQw4w9WgXc", "x"]


def test_the_public_metadata_are_joined_with_files_by_id(parse, tmp_path):
    names = [f"music/a/-dQw4w9WgXc.{suffix}" for suffix in ("abc", "npy")]
    files = [str(put(tmp_path, name, "x")) for name in names]
    bare = {key: value for key, value in CLAMP3.items() if key != "filepaths"}
    parsed = parse(bare, bare | {"id": "other"}, music=tmp_path / "music")
    (line,) = parsed.columns["line"]
    assert line["filepaths"] == files
    assert fault(parsed) == ("no_music", "line 2", "no filepaths, and no file is called other")


def test_other_files_are_recognised(parse, tmp_path):
    bare = {key: value for key, value in CLAMP3.items() if key != "filepaths"}
    with pytest.raises(DataError, match="looks like M4-RAG's metadata, which name no music files"):
        parse(bare)
    with pytest.raises(DataError, match="looks like WikiMT-X"):
        parse_m4_rag(SAMPLES["wikimt_x"](tmp_path).path)
    with pytest.raises(DataError, match="no such file; expected a training manifest"):
        parse_m4_rag(tmp_path / "none.jsonl")
