"""parts.tsv names every table of a store, and changes when one of them does."""

import pyarrow as pa
import pytest

from clamp3.data.listing import list_parts, listed_parts
from clamp3.data.rejected import Rejected, write_rejected
from clamp3.errors import DataError
from clamp3.files import write_table


@pytest.fixture
def store(tmp_path):
    for number, ids in enumerate((["a", "b"], ["c"])):
        write_table(tmp_path / f"part-0000{number}-of-00002.parquet", pa.table({"id": ids}))
        rejected = [Rejected("d", "abc", "no_notes", "empty")] * number
        write_rejected(tmp_path / f"rejected-part-0000{number}-of-00002.parquet", rejected)
    return tmp_path


def listed(folder):
    list_parts(folder, 2, folder / "parts.tsv")
    return (folder / "parts.tsv").read_text()


def test_every_table_has_a_line_with_its_rows(store):
    cells = [line.split("\t") for line in listed(store).splitlines()]
    assert cells[0] == ["file", "rows", "sha256"]
    assert [(name, rows) for name, rows, _ in cells[1:]] == [
        ("part-00000-of-00002.parquet", "2"),
        ("part-00001-of-00002.parquet", "1"),
        ("rejected-part-00000-of-00002.parquet", "0"),
        ("rejected-part-00001-of-00002.parquet", "1"),
    ]


def test_what_is_listed_is_found_again_in_order(store):
    listed(store)
    tables, rejected = listed_parts(store / "parts.tsv")
    assert tables == [store / f"part-0000{n}-of-00002.parquet" for n in (0, 1)]
    assert rejected == [store / f"rejected-part-0000{n}-of-00002.parquet" for n in (0, 1)]


def test_the_listing_changes_with_any_table_and_with_nothing_else(store):
    before = listed(store)
    write_table(store / "part-00001-of-00003.parquet", pa.table({"id": ["of another count"]}))
    (store / ".part-00009-of-00002.parquet.draft").mkdir()
    assert listed(store) == before
    write_table(store / "part-00001-of-00002.parquet", pa.table({"id": ["C"]}))
    assert listed(store) != before


def test_another_file_is_refused(store):
    path = store / "parts.tsv"
    whole = listed(store).encode()
    for cut, message in (
        (whole[: len(whole) // 3], r"parts.tsv: \[.*is the file damaged"),
        (whole[: whole.index(b"part-00001")], "parts.tsv: names 1 of 2 parts; is the file cut"),
        (whole[: whole.index(b"rejected-part-00001")], "parts.tsv: names 1 of 2 parts"),
        (whole.replace(b"part", b"\xff", 1), "not a readable listing"),
        (whole.replace(b"\t", b" "), "begins with"),
    ):
        path.write_bytes(cut)
        with pytest.raises(DataError, match=message):
            listed_parts(path)
    path.unlink()
    with pytest.raises(DataError, match=r"not a readable listing .*No such file"):
        listed_parts(path)
    (store / "parts.tsv").write_text("step\tloss\n")
    with pytest.raises(DataError, match=r"parts.tsv: begins with \['step', 'loss'\]"):
        listed_parts(store / "parts.tsv")
