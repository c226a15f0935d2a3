"""Searching tables of embeddings with a text or with a file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.retrieval.embedder import Embedder
from clamp3.retrieval.examples import nearest
from clamp3.retrieval.npy_output import JOURNAL, read_npy_tree
from clamp3.retrieval.sources import find_sources
from clamp3.retrieval.vectors import Vectors, read_vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """One found row: its id, its cosine with the query, and its labels (modality, field)."""

    id: str
    similarity: float
    labels: dict[str, str]


def search(
    query: np.ndarray, tables: Sequence[Vectors], count: int, *, modality: str | None = None
) -> list[Hit]:
    """The `count` rows of all tables nearest to the query [D], best first.

    With `modality` only rows of that one. Equal similarities stay in the order of the tables.
    """
    rows = [
        (similarity, vectors, row)
        for vectors in tables
        for row, similarity in nearest(query, vectors.embeddings, len(vectors.ids))
        if modality in (None, _modality(vectors, row))
    ]
    best = sorted(rows, key=lambda found: -found[0])[:count]
    return [_hit(similarity, vectors, row) for similarity, vectors, row in best]


def read_tables(source: Path, embedder: Embedder) -> list[Vectors]:
    """The tables of embeddings to search: one file, all in a folder, or a folder of raw files.

    A folder that `clamp3 embed --format npy` wrote is a table as well. Raw files (of a folder
    without any table) are embedded now; which of them could not be is logged.

    Raises DataError where there is nothing to search, or a table is of another model.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    paths = [source] if source.is_file() else sorted(source.rglob("*.parquet"))
    tables = {path: read_vectors(path) for path in paths if source.is_file() or _is_table(path)}
    if (source / JOURNAL).is_file():
        tables[source] = read_npy_tree(source)
    for path, vectors in tables.items():
        if vectors.origin.space != embedder.space:
            raise DataError(
                f"{path}: embeddings of model {vectors.origin.space[:16]}, but "
                f"{embedder.source} is {embedder.space[:16]}; vectors of two models cannot be "
                "compared: embed again"
            )
    return list(tables.values()) or [_embedded_now(source, embedder)]


def query_vector(query: str, embedder: Embedder) -> np.ndarray:
    """The embedding [D] of the query: the file of that name if there is one, else the text.

    Raises FormatError where the file cannot be read, ConfigError for an empty query.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    if not _is_file(query):
        return embedder.embed_text(query)
    sources, refused = find_sources([Path(query)])
    if not refused:
        vectors, refused = embedder.embed_sources(sources)
    if refused:
        raise FormatError(refused[0][1].kind, f"{query}: {refused[0][1]}")
    return vectors.embeddings[0]


def _is_file(query: str) -> bool:
    try:
        return Path(query).is_file()
    except (OSError, ValueError):  # a text too long for a name, or with a NUL
        return False


def _is_table(path: Path) -> bool:
    return "embedding" in pq.read_schema(path).names


def _embedded_now(folder: Path, embedder: Embedder) -> Vectors:
    sources, refused = find_sources([folder])
    vectors, failed = embedder.embed_sources(sources)
    for name, error in [*refused, *failed]:
        log.warning("%s: %s (%s)", name, error, error.kind)
    if not vectors.ids:
        raise DataError(f"{folder}: neither tables of embeddings nor files that could be embedded")
    return vectors


def _modality(vectors: Vectors, row: int) -> str:
    return (
        vectors.labels["modality"][row] if "modality" in vectors.labels else vectors.origin.modality
    )


def _hit(similarity: float, vectors: Vectors, row: int) -> Hit:
    labels = {name: values[row] for name, values in vectors.labels.items()}
    return Hit(vectors.ids[row], similarity, {"modality": _modality(vectors, row)} | labels)
