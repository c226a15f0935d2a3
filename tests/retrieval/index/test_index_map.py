"""The map of an index: what lies apart in the space lies apart on it, and additions have places."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from retrieval.indexes import WIDTH, built, names, write_some

from clamp3.errors import DataError
from clamp3.retrieval.index.map import POINTS, index_map
from clamp3.retrieval.index.writer import add_to_index, build_index, delete_from_index


def rows_of(group: np.ndarray, draws: np.random.Generator, shift: np.ndarray) -> np.ndarray:
    return group + shift + 0.05 * draws.standard_normal((20, WIDTH))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two groups of pieces as scores and as performances; the modalities lie far apart."""
    draws = np.random.default_rng(3)
    groups = np.zeros((2, WIDTH))
    groups[0, 0], groups[1, 1] = 1.0, 1.0
    for modality, axis in (("abc", 5), ("mtf", 6)):
        shift = np.zeros(WIDTH)
        shift[axis] = 3.0
        matrix = np.concatenate([rows_of(group, draws, shift) for group in groups])
        write_some(tmp_path / f"{modality}.parquet", names(40), matrix=matrix, modality=modality)
    build_index(tmp_path / "index", [tmp_path / "abc.parquet", tmp_path / "mtf.parquet"])
    return tmp_path / "index"


def places(table: pa.Table) -> np.ndarray:
    return np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)


def test_groups_lie_apart_and_modalities_on_each_other(folder: Path):
    table = index_map(folder)
    assert table.schema == POINTS
    assert table["id"].to_pylist() == [name for name in names(40) for _ in range(2)]
    assert table["modality"].to_pylist()[:2] == ["abc", "mtf"]
    points = places(table)
    assert points.min() == 0
    assert points.max() == 1
    first = np.array(table["id"].to_pylist()) < "00020"
    is_score = np.array(table["modality"].to_pylist()) == "abc"
    gap = abs(points[first].mean(axis=0)[0] - points[~first].mean(axis=0)[0])
    assert gap > 0.7
    assert abs(points[is_score].mean(axis=0)[0] - points[~is_score].mean(axis=0)[0]) < 0.05


def test_places_stay_and_new_rows_get_theirs(folder: Path, tmp_path: Path):
    before = index_map(folder)
    matrix = np.zeros((3, WIDTH))
    matrix[:, 5], matrix[0, 0], matrix[1, 1], matrix[2, 9] = 3.0, 1.0, 1.0, 99.0
    write_some(tmp_path / "new.parquet", ["new-0", "new-1", "far"], matrix=matrix)
    write_some(tmp_path / "audio.parquet", ["sound"], modality="audio")
    add_to_index(folder, [tmp_path / "new.parquet", tmp_path / "audio.parquet"])
    delete_from_index(folder, ["00003"])
    after = index_map(folder)
    assert len(after) == len(before) - 2 + 4
    assert 0 <= places(after).min() <= places(after).max() <= 1
    here, there = (
        {(row["id"], row["modality"]): (row["x"], row["y"]) for row in table.to_pylist()}
        for table in (before, after)
    )
    assert {key: here[key] for key in here if key[0] != "00003"}.items() <= there.items()
    assert abs(there["new-0", "abc"][0] - here["00000", "abc"][0]) < 0.15
    assert abs(there["new-1", "abc"][0] - here["00030", "abc"][0]) < 0.15


def test_some_of_many_are_always_the_same(folder: Path):
    whole, some = index_map(folder), index_map(folder, 30)
    assert len(some) == 30
    assert some == index_map(folder, 30)
    assert {(r["id"], r["x"]) for r in some.to_pylist()} <= {
        (r["id"], r["x"]) for r in whole.to_pylist()
    }
    assert index_map(folder, 1000) == whole


@pytest.mark.parametrize("count", [1, 2])
def test_few_and_equal_rows_lie_in_the_middle(tmp_path: Path, count: int):
    index = built(tmp_path, names(count), matrix=np.ones((count, WIDTH)))
    np.testing.assert_allclose(places(index_map(index)), 0.5)


def test_no_index_is_told(tmp_path: Path):
    with pytest.raises(DataError, match="not an index"):
        index_map(tmp_path)
