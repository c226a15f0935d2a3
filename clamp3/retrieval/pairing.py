"""Which reference is the right one for a query: by piece id, or by file name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairing:
    """Queries that have a right reference.

    `queries`: their rows, ascending; `targets`: for each the rows of its right references;
    `unmatched`: how many queries have none and are left out.
    """

    queries: np.ndarray
    targets: list[np.ndarray]
    unmatched: int


def pair_by_id(queries: Sequence[str], references: Sequence[str]) -> Pairing:
    """Queries and references of the same piece id belong together."""
    return _pair(queries, references, str)


def pair_by_name(queries: Sequence[str], references: Sequence[str]) -> Pairing:
    """Files of one folder whose names agree up to the first dot belong together.

    So `a/song.v1.en.npy` and `a/song.v2.npy` both ask for `a/song.npy`.

    Source: sanderwood/clamp3@9016d2b inference/clamp3_eval.py
    Differs: every reference of the same name is a right one, because which of them the originals
    take depends on the order of the file system; queries without a reference are counted and left
    out, where the originals stop.
    """
    return _pair(queries, references, name_key)


def name_key(path: str) -> str:
    """The relative path of a file with its name up to the first dot: `a.b/s.v1.npy` → `a.b/s`."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.split(".", 1)[0]


def _pair(queries: Sequence[str], references: Sequence[str], key: Callable[[str], str]) -> Pairing:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(references):
        rows.setdefault(key(name), []).append(row)
    matched = [row for row, name in enumerate(queries) if key(name) in rows]
    targets = [np.array(rows[key(queries[row])]) for row in matched]
    return Pairing(np.array(matched, dtype=int), targets, len(queries) - len(matched))
