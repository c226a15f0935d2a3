"""Pieces come out of stores and files as they went in."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from clamp3.data.piece_reader import PieceReader
from clamp3.data.store import Store
from clamp3.errors import DataError, FormatError
from clamp3.files import write_table

WIDTH = 3


def texts(folder, parts, column="abc"):
    """A store of several parts, each a dict of id to text."""
    for number, rows in enumerate(parts):
        schema = pa.schema({"id": pa.string(), column: pa.string()})
        table = pa.table({"id": list(rows), column: list(rows.values())}, schema=schema)
        write_table(folder / f"part-{number:05d}-of-{len(parts):05d}.parquet", table)
    return folder


def features(folder, rows):
    """Features in one part, in chunks of two rows."""
    kind = pa.list_(pa.list_(pa.float32(), WIDTH))
    chunks = [pa.array([array.tolist()], kind) for array in rows.values()]
    table = pa.table({"id": list(rows), "features": pa.chunked_array(chunks, kind)})
    write_table(folder / "part-00000-of-00001.parquet", table)
    return folder


def test_texts_of_all_parts(tmp_path):
    parts = [{"pdmx/Qm1": "X:1\né🎵"}, {}, {"pdmx/Qm2": "X:2", "wikimt_x/a": "X:3"}]
    store = Store(texts(tmp_path / "s", parts))
    assert store.ids == ["pdmx/Qm1", "pdmx/Qm2", "wikimt_x/a"]
    assert len(store) == 3
    assert store.column == "abc"
    assert [store.get(name) for name in store.ids] == ["X:1\né🎵", "X:2", "X:3"]
    assert "pdmx/Qm1" in store
    assert "pdmx/Qm3" not in store


def test_parts_may_be_named_one_by_one(tmp_path):
    folder = texts(tmp_path / "s", [{"a": "1"}, {"b": "2"}], column="mtf")
    store = Store([folder / "part-00001-of-00002.parquet"])
    assert (store.column, store.ids, store.get("b")) == ("mtf", ["b"], "2")


def test_many_rows_in_many_row_groups(tmp_path):
    rows = {f"pdmx/{number}": f"text {number}" * 3 for number in range(20_000)}
    store = Store(texts(tmp_path / "s", [rows]))
    for number in (0, 1, 8191, 8192, 8193, 16_384, 19_999):
        assert store.get(f"pdmx/{number}") == f"text {number}" * 3


def test_features_come_back_as_arrays(tmp_path):
    generator = np.random.default_rng(0)
    rows = {
        f"pdmx/{frames}": generator.normal(size=(frames, WIDTH)).astype(np.float32)
        for frames in (1, 4, 2, 130)
    }
    store = Store(features(tmp_path / "s", rows))
    for name, array in rows.items():
        found = store.get(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array)
        found[:] = 0  # the caller's own
        np.testing.assert_array_equal(store.get(name), array)


def test_features_of_a_sliced_table(tmp_path):
    kind = pa.list_(pa.list_(pa.float32(), WIDTH))
    arrays = [np.full((n, WIDTH), n, np.float32) for n in (1, 2, 3)]
    table = pa.table({"id": list("abc"), "features": pa.array([a.tolist() for a in arrays], kind)})
    write_table(tmp_path / "part-00000-of-00001.parquet", table.slice(1))
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.get("c"), arrays[2])


@pytest.mark.parametrize(
    ("parts", "column", "message"),
    [
        ([{"b": "1"}], "abc", r"s: no piece 'a' among 1"),
        ([{"a": "1"}, {"a": "2"}], "abc", "'a' stands in two rows"),
        ([{"a": "1"}], "music", "columns id, music; expected id and one of abc, mtf"),
    ],
)
def test_what_is_no_row_of_a_store_is_an_error(tmp_path, parts, column, message):
    store = Store(texts(tmp_path / "s", parts, column))
    with pytest.raises(DataError, match=message):
        store.get("a")


def test_a_folder_without_parts_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no part-\*\.parquet there"):
        Store(tmp_path)


def test_a_damaged_part_is_an_error(tmp_path):
    folder = texts(tmp_path / "s", [{"a": np.random.default_rng(0).bytes(5000).hex()}])
    part = next(folder.iterdir())
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        Store(folder).get("a")


def test_a_store_goes_to_other_processes(tmp_path):
    store = Store(texts(tmp_path / "s", [{"a": "1"}]))
    assert pickle.loads(pickle.dumps(store)).get("a") == "1"
    store.get("a")
    assert pickle.loads(pickle.dumps(store)).get("a") == "1"


def stays_on_disk(monkeypatch):
    monkeypatch.setattr("clamp3.data.store.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("clamp3.data.store._in_memory", None)


def test_a_large_store_stays_on_disk(tmp_path, monkeypatch):
    parts = [{f"a/{n}": f"{n} é" * n for n in range(100)}, {}, {"b": "2", "c": "3"}]
    store, twin = Store(texts(tmp_path / "s", parts)), Store(tmp_path / "s")
    expected = {name: twin.get(name) for name in twin.ids}
    stays_on_disk(monkeypatch)
    assert (store.ids, store.column, len(store)) == (list(expected), "abc", 102)
    assert {name: store.get(name) for name in reversed(store.ids)} == expected
    assert pickle.loads(pickle.dumps(store)).get("c") == "3"
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        f"part-{number:05d}-of-00003.parquet" for number in range(3)
    ]


def test_features_of_a_large_store(tmp_path, monkeypatch):
    rows = {f"p/{n}": np.full((n % 3 + 1, WIDTH), n, np.float32) for n in range(40)}
    store = Store(features(tmp_path / "s", rows))
    stays_on_disk(monkeypatch)
    for name in ("p/0", "p/16", "p/39"):
        np.testing.assert_array_equal(store.get(name), rows[name])


def test_a_large_store_where_nothing_can_be_written(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError("read-only")

    store = Store(texts(tmp_path / "s", [{"a": "1"}]))
    monkeypatch.setattr("clamp3.data.store.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert store.get("a") == "1"


def test_a_damaged_part_of_a_large_store_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("clamp3.data.store.IN_MEMORY_BYTES", 0)
    test_a_damaged_part_is_an_error(tmp_path)
    other = tmp_path / "other"
    with pytest.raises(DataError, match="columns id, music; expected id and one of abc, mtf"):
        Store(texts(other, [{"a": "1"}], column="music")).get("a")


def test_a_reader_finds_rows_by_their_filepath(tmp_path):
    texts(tmp_path / "data/interleaved", [{"pdmx/Qm.1": "X:1"}, {"wikimt_x/a": "X:2"}])
    texts(tmp_path / "data/mtf", [{"pdmx/Qm.1": "ticks_per_beat 480"}], column="mtf")
    features(tmp_path / "data/features", {"pdmx/Qm.1": np.ones((2, WIDTH), np.float32)})
    reader = PieceReader(tmp_path)
    for _ in range(2):
        assert reader.read("data/interleaved/pdmx/Qm.1.abc") == "X:1"
        assert reader.read("./data/interleaved/wikimt_x/a.abc") == "X:2"
        assert reader.read("data/mtf/pdmx/Qm.1.mtf") == "ticks_per_beat 480"
        assert reader.read("data/features/pdmx/Qm.1.npy").shape == (2, WIDTH)


def test_the_root_is_where_one_stands(tmp_path, monkeypatch):
    texts(tmp_path / "data/interleaved", [{"pdmx/Qm1": "X:1"}])
    monkeypatch.chdir(tmp_path)
    assert PieceReader().read("data/interleaved/pdmx/Qm1.abc") == "X:1"


def test_the_nearest_store_is_taken_and_files_come_first(tmp_path):
    texts(tmp_path / "data", [{"in/Qm1": "outer"}])
    texts(tmp_path / "data/in", [{"Qm1": "inner"}])
    assert PieceReader(tmp_path).read("data/in/Qm1.abc") == "inner"
    (tmp_path / "data/in/Qm1.abc").write_text("file")
    assert PieceReader(tmp_path).read("data/in/Qm1.abc") == "file"


def test_neither_file_nor_store(tmp_path):
    with pytest.raises(DataError, match="no such file, and no store"):
        PieceReader(tmp_path).read("data/Qm1.abc")
    texts(tmp_path / "data", [{"Qm1": "X:1"}])
    with pytest.raises(DataError, match="no piece 'Qm2'"):
        PieceReader(tmp_path).read("data/Qm2.abc")
    with pytest.raises(DataError, match="the store there holds abc"):
        PieceReader(tmp_path).read("data/Qm1.mtf")
    with pytest.raises(DataError, match=r"ends in \.abc, \.mtf, \.npy"):
        PieceReader(tmp_path).read("data/Qm1.mid")


@pytest.mark.parametrize("name", ["a.abc", "a.mtf"])
def test_text_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbfX:1\r\nC\xc3\xa9\n")
    assert PieceReader(tmp_path).read(name) == "X:1\nCé\n"
    assert PieceReader().read(str(tmp_path / name)) == "X:1\nCé\n"


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", "empty_file"), (b" \n", "empty_file"), (b"X:\xff", "not_text")]
)
def test_text_files_that_hold_no_piece(tmp_path, content, kind):
    (tmp_path / "a.abc").write_bytes(content)
    with pytest.raises(FormatError) as caught:
        PieceReader(tmp_path).read("a.abc")
    assert caught.value.kind == kind


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("lead", [(), (1,)])
def test_feature_files(tmp_path, dtype, lead):
    array = np.arange(6, dtype=dtype).reshape(*lead, 2, 3)
    np.save(tmp_path / "a.npy", array)
    found = PieceReader(tmp_path).read("a.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.zeros(3), "shape"),
        (np.zeros((2, 2, 3)), "shape"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((2, 3), int), "int64"),
        (np.array([[np.nan]]), "not finite"),
        (np.array([[1e300]]), "not finite"),
        (np.array([[{}]]), "not a .npy file of numbers"),
    ],
)
def test_feature_files_that_hold_no_features(tmp_path, array, fault):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(FormatError, match=fault) as caught:
        PieceReader(tmp_path).read("a.npy")
    assert caught.value.kind == "bad_features"


@pytest.mark.parametrize("content", [b"", b"noise", b"\x93NUMPY\x01\0"])
def test_feature_files_that_are_none(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(FormatError, match=r"not a \.npy file"):
        PieceReader(tmp_path).read("a.npy")


def test_a_cut_feature_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((50, 3)))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-8])
    with pytest.raises(FormatError, match=r"not a \.npy file"):
        PieceReader(tmp_path).read("a.npy")
