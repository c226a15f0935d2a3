"""Which queries and references belong together, as numbers of shared keys."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.errors import ConfigError
from clamp3.retrieval.vectors import Vectors

NO_KEY = -1


@dataclass(frozen=True)
class Groups:
    """For each query [Q] and each reference [R] the number of its key, counted from 0.

    Those with equal numbers belong together. A query whose key no reference has, and a reference
    that no query asks for, have `NO_KEY`. `keys`: the shared ones, by number.
    """

    queries: np.ndarray
    references: np.ndarray
    keys: list[str]

    def members(self) -> list[np.ndarray]:
        """For each key the rows of its references, ascending."""
        matched = np.flatnonzero(self.references != NO_KEY)
        order = matched[np.argsort(self.references[matched], kind="stable")]
        sizes = np.bincount(self.references[matched], minlength=len(self.keys))
        return np.split(order, np.cumsum(sizes)[:-1]) if self.keys else []


def keys_of(vectors: Vectors, by: str) -> list[str]:
    """The key of each row: `name`, `folder`, `id`, or what a column of the table says.

    `name` is that of `name_key`; `folder` the path of the folder.

    Raises ConfigError where there is no such column.
    """
    if by == "name":
        return [name_key(path) for path in vectors.ids]
    if by == "folder":
        return [path.rpartition("/")[0] for path in vectors.ids]
    if by == "id":
        return list(vectors.ids)
    if by not in vectors.labels:
        known = ", ".join(["name", "folder", "id", *sorted(vectors.labels)])
        raise ConfigError(f"--by {by}: no such column in the embeddings; possible are {known}")
    return [str(value) for value in vectors.labels[by]]


def name_key(path: str) -> str:
    """The relative path of a file with its name up to the first dot: `a.b/s.v1.npy` → `a.b/s`.

    So `a/song.v1.en.npy` and `a/song.v2.npy` both ask for `a/song.npy`.

    Source: sanderwood/clamp3@9016d2b inference/clamp3_eval.py
    Differs: every reference of the same name is a right one, because which of them the originals
    take depends on the order of the file system; queries without a reference are counted and left
    out, where the originals stop.
    """
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.split(".", 1)[0]


def group(queries: Sequence[str], references: Sequence[str]) -> Groups:
    """The numbers of the keys that both sides have, in the order of the references."""
    asked = set(queries)
    numbers: dict[str, int] = {}
    for key in references:
        if key in asked:
            numbers.setdefault(key, len(numbers))

    def numbered(keys: Sequence[str]) -> np.ndarray:
        return np.array([numbers.get(key, NO_KEY) for key in keys], dtype=np.int64)

    return Groups(numbered(queries), numbered(references), list(numbers))
