"""Wrong files are recognised, paths stay in their folder, and one bad line costs one piece."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdmx_rows import COLUMNS
from samples import json_lines as json_lines_of
from samples import put

from clamp3.data.sources import (
    check_name,
    clean_path,
    clean_text,
    clean_words,
    file_sizes,
    file_stem,
    guess_file,
    json_lines,
    json_rows,
    parse_rows,
    require_file,
)
from clamp3.errors import DataError, FormatError


@pytest.mark.parametrize(
    ("content", "guess"),
    [
        (gzip.compress(b"path,mxl", mtime=0), "a gzip file"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"PAR1rest", "a Parquet file"),
        (b"MThd\x00\x00\x00\x06", "a MIDI file"),
        ("path,mxl".encode("utf-16"), "UTF-16"),
        (b"<!DOCTYPE html><html>", "an HTML or XML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b'[{"id": 1}]', "a JSON array"),
        (b'{"id": "x", "title": "y", "leadsheet": "X:1"}\n', "WikiMT-X"),
        (b'\n {"location": "lmd_full/1/a.mid", "caption": "x", "genre": [', "MidiCaps"),
        (b'{"id": "x", "filepaths": ["a.abc"]}', "a training manifest"),
        (b'{"unknown": 1}', "JSON lines of an unknown data set"),
        (",".join(COLUMNS).encode(), "PDMX.csv"),
        (b"\xef\xbb\xbf" + ",".join(COLUMNS).encode(), "PDMX.csv"),
        (";".join(COLUMNS).encode(), "separated by semicolons"),
        ("\t".join(COLUMNS).encode(), "separated by tabs"),
        (b"./data/1/11/Qm.json,./metadata/1/1.json,NA", "without its first line"),
        (b"ytid,start_s,end_s,caption", "MusicCaps"),
        (b"caption_id,track_id,caption", "Song Describer"),
        (b"\xff\xd8\xff\xe0", "neither JSON nor a known table"),
        (b"", "neither JSON nor a known table"),
    ],
)
def test_files_are_recognised(tmp_path, content, guess):
    (tmp_path / "file").write_bytes(content)
    assert guess in guess_file(tmp_path / "file")


@settings(deadline=None)
@given(st.binary())
def test_no_content_is_too_odd_to_guess(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "odd"
    path.write_bytes(content)
    assert guess_file(path)


def test_a_file_must_be_there_with_something_in_it(tmp_path):
    with pytest.raises(DataError, match="no such file; expected PDMX"):
        require_file(tmp_path / "PDMX.csv", "PDMX.csv")
    with pytest.raises(DataError, match="a folder"):
        require_file(tmp_path, "PDMX.csv")
    (tmp_path / "PDMX.csv").touch()
    with pytest.raises(DataError, match="empty"):
        require_file(tmp_path / "PDMX.csv", "PDMX.csv")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("./mxl/1/11/Qm.mxl", "data/pdmx/mxl/1/11/Qm.mxl"),
        ("mxl/1/11/Qm.mxl", "data/pdmx/mxl/1/11/Qm.mxl"),
        ("././mxl//1/./Qm.mxl", "data/pdmx/mxl/1/Qm.mxl"),
        ("Qm ä..b.mxl", "data/pdmx/Qm ä..b.mxl"),
    ],
)
@pytest.mark.parametrize("folder", ["data/pdmx", "data/pdmx/"])
def test_paths_are_cleaned(value, path, folder):
    assert clean_path(value, folder) == path


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("/mxl/1/Qm.mxl", "absolute"),
        ("~/mxl/Qm.mxl", "absolute"),
        ("C:/mxl/Qm.mxl", "absolute"),
        ("https://host/Qm.mxl", "absolute"),
        (".\\mxl\\1\\Qm.mxl", "backslashes"),
        ("../mxl/Qm.mxl", r"'\.\.'"),
        ("mxl/../../Qm.mxl", r"'\.\.'"),
        ("mxl/Qm\0.mxl", "control"),
        ("mxl/1/", "names no file"),
        (".", "names no file"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(value, fault):
    with pytest.raises(ValueError, match=fault):
        clean_path(value, "data/pdmx")


@given(st.text())
def test_a_clean_path_is_below_its_folder(value):
    try:
        path = clean_path(value, "top")
    except ValueError:
        return
    assert path.startswith("top/")
    assert ".." not in path.split("/")
    assert "//" not in path


def test_stems():
    paths = ("a/b/Qm1.mxl", "Qm.1.mid", "a.b/Qm", ".json")
    assert [file_stem(path) for path in paths] == ["Qm1", "Qm.1", "Qm", ""]


def test_texts_are_put_on_one_line():
    assert clean_text("  a \n\t b  ") == "a b"
    assert [clean_text(nothing) for nothing in (None, "", " ", "NA")] == [None] * 4
    with pytest.raises(ValueError, match="found list, expected text"):
        clean_text(["a"])


def test_words():
    assert clean_words(None) == []
    assert clean_words("jazz") == ["jazz"]
    assert clean_words(["jazz", None, "", " pop "]) == ["jazz", "pop"]
    with pytest.raises(ValueError, match="found int"):
        clean_words([1])


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\\b", "..", ".", "a\nb", None, 5])
def test_names_that_make_no_file_are_refused(name):
    with pytest.raises(ValueError, match=r"name"):
        check_name(name)


def test_names_with_signs_are_names():
    assert check_name("-_dQw4w9WgXcQ") == "-_dQw4w9WgXcQ"


def test_json_lines_tell_bad_lines(tmp_path):
    lines = [b"\xef\xbb\xbf{}", b"", b"{broken", b"[1]", b'{"a": "\xe9"}', b'{"a": "\\ud800"}']
    lines += [b'{"a": ' + b"1" * 5000 + b"}"]
    lines += [b'{"a": "\\ud83c\\udfb5"}', b'{"a": "\xc3\xa9"}', b'{"a": NaN}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found = dict(json_lines(tmp_path / "a.jsonl"))
    assert found[1] == {}
    assert 2 not in found
    assert "not JSON" in found[3]
    assert "list, expected an object" in found[4]
    assert found[5] == found[6] == "not UTF-8"
    assert "not JSON" in found[7]
    assert found[8] == {"a": "🎵"}
    assert found[9] == {"a": "é"}
    assert found[10] == {"a": None}


def read_piece(piece_id, line):
    if line["kind"] == "wrong":
        raise FormatError("no_music", "nothing")
    return {"kind": line["kind"]} if line["kind"] else None


def test_each_line_is_used_rejected_or_left_out(tmp_path):
    rows = [{"id": "a", "kind": "x"}, {"id": "b", "kind": "wrong"}, {"id": "c", "kind": ""}]
    rows += [{"id": "a", "kind": "y"}, {"id": 5, "kind": "x"}]
    path = put(tmp_path, "a.jsonl", json_lines_of([*rows, "nonsense"]))
    rows = json_rows(path, ["id", "kind"], "a set")
    parsed = parse_rows(rows, "set", lambda line: "set/" + check_name(line["id"]), read_piece)
    assert parsed.columns == {"id": ["set/a"], "kind": ["x"]}
    assert [(row.reason.split(":")[0], row.id, row.kind) for row in parsed.rejected] == [
        ("line 2", "set/b", "no_music"),
        ("line 4", "set/a", "duplicate_id"),
        ("line 5", "set/line 5", "bad_value"),
        ("line 6", "set/line 6", "bad_row"),
    ]
    assert (parsed.rows_in, parsed.left_out) == (6, 1)


def test_sizes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").touch()
    paths = [str(tmp_path / "a"), None, str(tmp_path), str(tmp_path / "b"), str(tmp_path / "c")]
    assert file_sizes(paths * 1000) == [3, None, None, 0, None] * 1000
    assert file_sizes([]) == []
