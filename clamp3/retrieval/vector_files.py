"""Embeddings to compare: a table, or a folder of .npy files of any origin."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clamp3.data.raw_files.folders import local_sources
from clamp3.errors import DataError
from clamp3.files import read_array
from clamp3.retrieval.embedding.npy_output import JOURNAL, read_npy_tree
from clamp3.retrieval.vectors import Origin, Vectors, read_vectors

log = logging.getLogger(__name__)

NPY = ".npy"


@dataclass(frozen=True)
class Read:
    """The embeddings of a source, and what of it could not be used: file and reason."""

    vectors: Vectors
    refused: list[tuple[str, str]]

    @property
    def refusals(self) -> list[dict[str, str]]:
        """What could not be used, as reports tell it."""
        return [{"file": file, "reason": reason} for file, reason in self.refused]


def read_embeddings(source: Path | str) -> Read:
    """The embeddings of a table of `clamp3 embed`, or of a folder of .npy files.

    In a folder that `clamp3 embed --format npy` wrote the ids are those of the files embedded. In
    any other, which is the originals' layout, each file .npy below it counts, [1, D] or [D], with
    its path without .npy as id; files that are damaged, temporal, not finite or of another width
    than most are refused one by one. Rows are in the order of the table, the journal or the paths.
    The source may lie in an archive or elsewhere (see clamp3.data.raw_files).

    Raises DataError where nothing can be read.
    """
    with local_sources([str(source)], everything=True) as [copy]:
        return _read(copy)


def _read(source: Path) -> Read:
    if source.is_dir():
        return Read(read_npy_tree(source), []) if (source / JOURNAL).is_file() else _folder(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    return Read(read_vectors(source), [])


def _folder(folder: Path) -> Read:
    found, refused = {}, []
    for path in sorted(folder.rglob(f"*{NPY}")):
        name = path.relative_to(folder).as_posix()
        try:
            found[name.removesuffix(NPY)] = _vector(path)
        except DataError as error:
            refused.append((name, str(error)))
    widths = Counter(len(vector) for vector in found.values())
    width = max(widths, key=lambda w: (widths[w], w), default=0)
    for name in [name for name, vector in found.items() if len(vector) != width]:
        refused.append((name + NPY, f"{len(found.pop(name))} wide, most are {width}"))
    if not found:
        raise DataError(
            f"{folder}: no embeddings here ({len(refused)} .npy files refused); expected files "
            "[1, D] below it, or give a table of `clamp3 embed`"
        )
    matrix = np.stack(list(found.values()))
    return Read(Vectors(list(found), matrix, Origin("", "", "", "")), sorted(refused))


def _vector(path: Path) -> np.ndarray:
    try:
        vector = read_array(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"not readable ({error})") from error
    if vector.dtype.kind not in "fiu":
        raise DataError("holds no numbers")
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim != 1 or not len(vector):
        raise DataError(f"found shape {list(vector.shape)}, expected [1, D] (temporal features?)")
    if not np.isfinite(vector).all():
        raise DataError("holds NaN or infinity")
    return vector.astype(np.float32) if vector.dtype.kind != "f" else vector
