"""Indexes whose writers are killed or many, and whose files are damaged."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from retrieval.indexes import WIDTH, names, write_some

from clamp3.errors import DataError
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.store import writing
from clamp3.retrieval.index.writer import add_to_index, build_index, delete_from_index

PROGRAM = ROOT / "tests/retrieval/killed_writer.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of 40 rows, two segments and a deleted row."""
    write_some(tmp_path / "a.parquet", names(30))
    write_some(tmp_path / "b.parquet", names(10, "b"), seed=1)
    (tmp_path / "known.csv").write_text("id,genre\n00003,jig\n")
    build_index(tmp_path / "index", [tmp_path / "a.parquet"], metadata=[tmp_path / "known.csv"])
    add_to_index(tmp_path / "index", [tmp_path / "b.parquet"])
    delete_from_index(tmp_path / "index", ["00000"])
    return tmp_path / "index"


def count(folder: Path) -> int:
    index = open_index(folder)
    hits = index.search(np.ones(WIDTH), 10**6)
    assert len(hits) == len(index)
    return len(hits)


def killed(folder: Path, tmp_path: Path, moments: int) -> list[list[str]]:
    """What the program for killing says: mode, how often before, how often after."""
    table = tmp_path / "c.parquet"
    write_some(table, [*names(5), *names(20, "c")], seed=2)  # replaces, too
    (tmp_path / "c.csv").write_text("id,abc\n00001,X:1\nc00001,X:2\n")
    words = [sys.executable, PROGRAM, folder, table, moments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_writer_that_is_killed_before_any_call_leaves_the_index_before_or_after(
    folder: Path, tmp_path: Path
):
    counts = killed(folder, tmp_path, 0)
    assert [mode for mode, *_ in counts] == ["steps", "steps"]
    for _, before, after in counts:
        assert int(before) >= 20
        assert int(after) >= 1


@pytest.mark.long
def test_a_writer_that_is_killed_at_any_time_leaves_the_index_before_or_after(
    folder: Path, tmp_path: Path
):
    ((mode, before, after),) = killed(folder, tmp_path, 100)
    assert mode == "moments"
    assert int(before) + int(after) == 100
    assert int(before) >= 20


def test_two_writers_wait_for_each_other(folder: Path, tmp_path: Path):
    def writer(letter: str) -> None:
        for number in range(8):
            table = tmp_path / f"{letter}{number}.parquet"
            write_some(table, names(3, f"{letter}{number}-"), seed=number)
            add_to_index(folder, [table])

    threads = [threading.Thread(target=writer, args=(letter,)) for letter in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(folder) == 39 + 3 * 8 * 3
    open_index(folder).check()


def test_a_reader_sees_whole_states_while_there_is_writing(folder: Path, tmp_path: Path):
    write_some(tmp_path / "c.parquet", names(100, "c"), seed=2)
    stop, seen, faults = threading.Event(), set(), []

    def reader() -> None:
        try:
            while not stop.is_set():
                seen.add(count(folder))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(12):
        add_to_index(folder, [tmp_path / "c.parquet"])
        delete_from_index(folder, names(100, "c"))
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert seen <= {39, 139}


def test_a_writer_gives_up_when_another_does_not_end(folder: Path):
    with (
        writing(folder),
        pytest.raises(DataError, match="another program has been writing"),
        writing(folder, wait_seconds=0.1),
    ):
        pass
    with writing(folder, wait_seconds=0.1):
        pass


def test_a_failed_writer_leaves_nothing_about(folder: Path, tmp_path: Path):
    names_before = sorted(p.name for p in folder.iterdir())
    write_some(tmp_path / "c.parquet", ["x"], seed=2)
    content = (tmp_path / "c.parquet").read_bytes()
    place = content.index(np.random.default_rng(2).standard_normal(WIDTH).astype("f4").tobytes())
    (tmp_path / "c.parquet").write_bytes(content[:place] + b"\xff" * 4 + content[place + 4 :])
    for write in (add_to_index, build_index):
        with pytest.raises(DataError, match=r"c\.parquet"):
            write(folder, [tmp_path / "c.parquet"])
    assert sorted(p.name for p in folder.iterdir()) == names_before
    assert count(folder) == 39


def test_a_full_disk_is_told_and_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_some(folder.parent / "c.parquet", ["x"], seed=2)
    for name in ("index.update.SegmentWriter.append", "index.store.write_text"):
        with monkeypatch.context() as patch:
            patch.setattr(f"clamp3.retrieval.{name}", full)
            with pytest.raises(DataError, match="cannot be written: No space left"):
                add_to_index(folder, [folder.parent / "c.parquet"])
        assert count(folder) == 39


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    half = len(content) // 2
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:half], "grown": content + b"x", "empty": b""}[how])


@pytest.mark.parametrize("how", ["missing", "cut", "grown", "empty"])
@pytest.mark.parametrize("name", ["vectors.f32", "scan.f16", "rows.arrow", "deleted", "index.json"])
def test_a_damaged_file_is_told_when_the_index_is_opened(folder: Path, name: str, how: str):
    path = next(p for p in sorted(folder.rglob("*")) if p.name.startswith(name))
    damage(path, how)
    with pytest.raises(DataError) as caught:
        open_index(folder)
    said = str(caught.value)
    assert str(folder) in said
    assert "\n" not in said
    assert "build the index again" in said or "index build" in said
    with pytest.raises(DataError):
        add_to_index(folder, [folder.parent / "a.parquet"])
    build_index(folder, [folder.parent / "a.parquet"])  # does what the message says
    assert count(folder) == 30


@pytest.mark.parametrize("name", ["vectors.f32", "scan.f16", "rows.arrow"])
def test_a_changed_byte_is_found_by_a_check(folder: Path, name: str):
    path = folder / "segment-000002" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 1] ^= 0x04
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: damaged"):
        open_index(folder).check()


def test_numbers_that_cannot_be_are_found_by_a_search(folder: Path):
    for name, message in (("scan.f16", "whose length is not 1"), ("vectors.f32", "NaN")):
        copy = folder.parent / name
        shutil.copytree(folder, copy)
        path = copy / "segment-000001" / name
        content = path.read_bytes()
        path.write_bytes(b"\xff" * (len(content) // 2) + content[len(content) // 2 :])
        with pytest.raises(DataError, match=message):
            open_index(copy).search(np.ones(WIDTH), 40)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m | {"version": 2}, "version 2, expected 1"),
        (lambda m: m | {"width": 7}, "checksum"),
        (lambda m: [m], "damaged"),
        (lambda m: {"checksum": m["checksum"]}, "checksum"),
    ],
)
def test_a_changed_manifest_is_told(folder: Path, change, message: str):
    path = folder / "index.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(DataError, match=message):
        open_index(folder)
