"""Searching an index, tables of embeddings or a folder of music, with a text or with a file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.formats.modality import FORMAT_BY_SUFFIX
from clamp3.retrieval.embedded_folder import embedded_folder
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.sources import find_sources
from clamp3.retrieval.evaluation.examples import nearest
from clamp3.retrieval.index.filters import Condition, matching, parse_conditions, refuse_unknown
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.rows import KEY, rows_of
from clamp3.retrieval.index.store import is_index
from clamp3.retrieval.vector_tables import vector_tables
from clamp3.retrieval.vectors import Vectors

log = logging.getLogger(__name__)


def search_collection(
    query: str,
    collection: Path,
    embedder: Embedder,
    count: int = 10,
    *,
    where: Sequence[str | Condition] = (),
    approximate: bool = False,
) -> list[Hit]:
    """The `count` rows nearest to a text, or to the file of that name, best first.

    `collection`: an index, a table of embeddings, a folder of such tables, or a folder of music,
    which is embedded first (see `embedded_folder`). `where`: conditions such as `year>=1900`, see
    `filters.matching`. `approximate`: where the index was built for it.

    Raises DataError where there is nothing to search, or it is of another model.
    """
    conditions = parse_conditions(where)
    if not is_index(collection):
        tables = read_tables(collection, embedder)
        return search(query_vector(query, embedder), tables, count, where=conditions)
    from clamp3.retrieval.index.reader import open_index  # its compiler takes a moment to import

    index = open_index(collection)
    index.refuse_other(embedder.space, embedder.source)
    vector = query_vector(query, embedder)
    return index.search(vector, count, where=conditions, approximate=approximate)


def search(
    query: np.ndarray,
    tables: Sequence[Vectors],
    count: int,
    *,
    where: Sequence[str | Condition] = (),
) -> list[Hit]:
    """The `count` rows of all tables nearest to the query [D], best first.

    Only rows that meet the conditions, on id, modality and further columns of the tables. Equal
    similarities stay in the order of the tables.
    """
    conditions = parse_conditions(where)
    known = {*KEY, *(name for vectors in tables for name in vectors.labels)}
    refuse_unknown(conditions, sorted(known))
    found: list[tuple[float, Vectors, int]] = []
    for vectors in tables:
        rows = np.arange(len(vectors.ids))
        if conditions:
            rows = np.flatnonzero(matching(rows_of(vectors), conditions))
        best = nearest(query, vectors.embeddings[rows] if conditions else vectors.embeddings, count)
        found += [(similarity, vectors, int(rows[row])) for row, similarity in best]
    best = sorted(found, key=lambda one: -one[0])[:count]
    return [
        Hit.of(rows_of(vectors.take([row])).to_pylist()[0], similarity)
        for similarity, vectors, row in best
    ]


def read_tables(source: Path, embedder: Embedder) -> list[Vectors]:
    """The tables of embeddings to search: one file, all in a folder, or a folder of raw files.

    A folder that `clamp3 embed --format npy` wrote is a table as well. Raw files (of a folder
    without any table) are embedded where they are not yet; which could not be is logged.

    Raises DataError where there is nothing to search, or a table is of another model.
    """
    source = Path(source)
    found = vector_tables(source)
    for table in found:
        if table.origin.space != embedder.space:
            raise DataError(
                f"{table.path}: embeddings of model {table.origin.space[:16]}, but "
                f"{embedder.source} is {embedder.space[:16]}; vectors of two models cannot be "
                "compared: embed again"
            )
    return [table.read() for table in found] or [embedded_folder(source, embedder)]


def query_vector(query: str, embedder: Embedder) -> np.ndarray:
    """The embedding [D] of the query: the file of that name if there is one, else the text.

    Raises FormatError where the file cannot be read, ConfigError for an empty query.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    if not _is_file(query):
        if Path(query).suffix.lower() in FORMAT_BY_SUFFIX:
            log.warning("%s: no such file; searching for these words", query)
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
