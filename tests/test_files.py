"""Files are complete or not there."""

import os
import stat

import pyarrow as pa
import pytest

from clamp3.errors import DataError
from clamp3.files import (
    atomic_path,
    read_jsonl,
    read_table,
    sha256_of,
    write_json,
    write_jsonl,
    write_table,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model"
    for content in ("one", "two"):
        with atomic_path(path) as draft:
            draft.mkdir()
            (draft / content).write_text(content)
    assert os.listdir(path) == ["two"]
    assert os.listdir(tmp_path) == ["model"]


def test_files_are_readable_as_the_umask_says(tmp_path):
    write_text(tmp_path / "a", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_table_comes_back_and_its_bytes_repeat(tmp_path):
    table = pa.table({"id": ["ä", "b"], "text": ["x" * 1000, None]})
    write_table(tmp_path / "one.parquet", table, dictionary=["id"])
    write_table(tmp_path / "two.parquet", table, dictionary=["id"])
    assert sha256_of(tmp_path / "one.parquet") == sha256_of(tmp_path / "two.parquet")
    assert read_table([tmp_path / "one.parquet", tmp_path / "two.parquet"]).num_rows == 4
    assert read_table(tmp_path / "one.parquet", ["text"]).column_names == ["text"]


def test_a_truncated_or_flipped_table_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    rows = [os.urandom(40).hex() for _ in range(500)]
    write_table(path, pa.table({"text": rows}))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"t\.parquet"):
        read_table(path)
    path.write_bytes(whole[:300] + bytes([whole[300] ^ 255]) + whole[301:])
    with pytest.raises(DataError, match=r"t\.parquet"):
        read_table(path)


def test_a_missing_column_is_named(tmp_path):
    write_table(tmp_path / "t.parquet", pa.table({"a": [1]}))
    with pytest.raises(DataError, match="no column b"):
        read_table(tmp_path / "t.parquet", ["a", "b"])


def test_no_table_at_all_is_an_error():
    with pytest.raises(DataError, match="at least one"):
        read_table([])


def test_jsonl_comes_back_with_line_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"a": "ü"}, {"a": None}])
    path.write_text(path.read_text() + "\n" + '{"a": 3}\n')
    assert list(read_jsonl(path)) == [(1, {"a": "ü"}), (2, {"a": None}), (4, {"a": 3})]


@pytest.mark.parametrize(("line", "message"), [("{", "not JSON"), ("[1]", "found list")])
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=f"line 2: {message}"):
        list(read_jsonl(path))


def test_json_keeps_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": 2\n}\n'
