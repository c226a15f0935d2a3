"""Files are complete or not there."""

import errno
import fcntl
import os
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from clamp3.errors import DataError, StorageError
from clamp3.files import (
    atomic_path,
    parse_json,
    read_jsonl,
    read_metadata,
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


def leave_draft(folder, name):
    """What a process that is killed while it writes a.txt leaves."""
    draft = folder / f".a.txt.{name}"
    draft.mkdir()
    (draft / "a.txt").write_text("half")
    return draft


def test_drafts_of_killed_processes_go_with_the_next_write(tmp_path):
    leave_draft(tmp_path, "dead")
    lock = os.open(leave_draft(tmp_path, "live"), os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (tmp_path / ".a.txt.note").write_text("a file is no draft")
    write_text(tmp_path / "a.txt", "whole")
    os.close(lock)
    assert sorted(os.listdir(tmp_path)) == [".a.txt.live", ".a.txt.note", "a.txt"]


def test_a_workplace_that_is_taken_for_abandoned_is_made_anew(tmp_path, monkeypatch):
    """Another process may look between the making of a folder and its lock."""
    made, make = [], tempfile.mkdtemp

    def taken(**options):
        made.append(make(**options))
        if len(made) == 1:
            os.rmdir(made[0])
        if len(made) == 2:
            held.append(os.open(made[1], os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return made[-1]

    held = []
    monkeypatch.setattr(tempfile, "mkdtemp", taken)
    with atomic_path(tmp_path / "a.txt") as draft:
        assert str(draft.parent) == made[2]
        draft.write_text("whole")
    os.close(held[0])
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_writers_of_one_path_leave_it_whole_and_no_drafts(tmp_path):
    def write(content):
        for _ in range(100):
            write_text(tmp_path / "a.txt", content * 1000)

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(write, "abcd")]
    assert os.listdir(tmp_path) == ["a.txt"]
    assert len({*(tmp_path / "a.txt").read_text()}) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some"),
        (OSError(errno.EROFS, "Read-only file system", "x"), "Read-only file system; give it ano"),
        (ValueError("I/O error: No space left on device (os error 28)"), "No space left on device"),
        (RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file"), "No space left"),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, error, told):
    write_text(tmp_path / "a.txt", "old")
    with (
        pytest.raises(StorageError, match=rf"a\.txt: cannot be written: {told}"),
        atomic_path(tmp_path / "a.txt"),
    ):
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone", "in"), ValueError("os error 2")])
def test_what_a_block_cannot_read_stays_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as raised, atomic_path(tmp_path / "a.txt"):
        raise error
    assert raised.value is error


def test_a_file_of_a_folder_is_named_as_it_would_be(tmp_path):
    with (
        pytest.raises(StorageError, match=rf"^{tmp_path}/model/w: cannot be written: No space"),
        atomic_path(tmp_path / "model") as folder,
        atomic_path(folder / "w"),
    ):
        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"b\.txt: cannot be written: "):
        write_text(tmp_path / "file/b.txt", "x")


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


@pytest.mark.parametrize(
    ("line", "message"),
    [(b"{", "not JSON"), (b"[1]", "found list"), (b'{"a": "\xff"}', "not JSON .*byte 0xff")],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DataError, match=f"line 2: {message}"):
        list(read_jsonl(path))


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for read in (read_table, read_metadata):
        with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
            read(tmp_path / "a.parquet")


def test_json_keeps_the_order_of_keys(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": 2\n}\n'


@pytest.mark.parametrize(
    ("text", "said"), [("{", "Expecting property name"), ("[" * 200_000, "nested too deep")]
)
def test_what_is_no_json_is_a_value_error(text, said):
    with pytest.raises(ValueError, match=said):
        parse_json(text)
