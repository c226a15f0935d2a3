"""Small tables of embeddings and indexes of them for the tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

SPACE = "5" * 64
WIDTH = 24


def write_some(
    path: Path,
    ids: Sequence[str],
    *,
    seed: int = 0,
    matrix: np.ndarray | None = None,
    space: str = SPACE,
    modality: str = "abc",
    labels: dict[str, list[str]] | None = None,
) -> np.ndarray:
    """Write random embeddings, or the given ones, of these ids; returns them."""
    if matrix is None:
        matrix = np.random.default_rng(seed).standard_normal((len(ids), WIDTH))
    matrix = matrix.astype(np.float32)
    origin = Origin(space, space, modality, "tunes")
    write_vectors(path, Vectors(list(ids), matrix, origin, labels or {}))
    return matrix


def built(
    tmp_path: Path, ids: Sequence[str], *, matrix: np.ndarray | None = None, **how: object
) -> Path:
    """An index of rows of these ids."""
    write_some(tmp_path / "v.parquet", ids, matrix=matrix)
    build_index(tmp_path / "index", [tmp_path / "v.parquet"], **how)
    return tmp_path / "index"


def names(count: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{number:05d}" for number in range(count)]


def brute_force(
    matrix: np.ndarray, ids: Sequence[str], query: np.ndarray, count: int
) -> list[tuple[str, float]]:
    """Ids and cosines of the nearest, one row at a time in double precision; ties by id."""
    query = np.asarray(query, dtype=np.float64)
    found = []
    for name, row in zip(ids, matrix.astype(np.float64), strict=True):
        length = np.sqrt(row @ row) * np.sqrt(query @ query)
        found.append((name, float(row @ query / length) if length else 0.0))
    return sorted(found, key=lambda one: (-one[1], one[0]))[:count]
