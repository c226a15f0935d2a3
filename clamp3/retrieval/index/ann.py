"""Approximate search of large indexes: faiss looks where neighbours probably are.

Vectors in bytes, in lists around centres (IVF-SQ8); what it finds is compared again in double
precision. Needs the extra `ann`. How many lists are looked through is measured when the index is
built: as few as find enough of what the exact search finds.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from clamp3.errors import ConfigError, DataError
from clamp3.files import atomic_path, sha256_of
from clamp3.randomness import stable_hash
from clamp3.retrieval.index.segment import OpenSegment
from clamp3.retrieval.index.store import ANN, REBUILD, Ann, FileEntry, Segment
from clamp3.retrieval.vectors import read_vectors, unit_rows

LEAST_ROWS_PER_LIST = 40  # faiss warns of lists that are made of fewer
TRAINING_ROWS_PER_LIST = 64
ROWS_PER_BLOCK = 16384
CHECKED_QUERIES = 200
CHECKED_COUNT = 10
LEAST_FOUND = 200  # compared again in full precision
FOUND_PER_RESULT = 20
SEED = 20


@dataclass(frozen=True)
class AnnSettings:
    """`recall`: what part of the exact search's 10 best it has to find.

    `queries`: a table of embeddings to measure that with: texts, if texts will be asked. None takes
    rows of the index itself, which are easier to find.
    """

    recall: float = 0.98
    queries: Path | None = None


def with_ann(
    folder: Path, segment: Segment, width: int, space: str, settings: AnnSettings
) -> Segment:
    """The segment with a file for approximate search, which was measured against the exact one.

    Raises ConfigError where faiss is not installed, or the recall asked for is out of reach.
    """
    faiss = import_faiss()
    opened = OpenSegment(folder, segment, width)
    queries, asked = _queries(opened, space, settings)
    index = _built(faiss, opened)
    path = folder / segment.name / ANN
    with atomic_path(path) as draft:
        faiss.write_index(index, str(draft))
    entry = FileEntry(size=path.stat().st_size, sha256=sha256_of(path))
    probes, recall = _measured(opened, path, index.nlist, queries, settings.recall)
    ann = Ann(
        lists=index.nlist,
        probes=probes,
        recall=recall,
        count=CHECKED_COUNT,
        queries=len(queries),
        asked=asked,
    )
    return segment.model_copy(update={"files": segment.files | {ANN: entry}, "ann": ann})


class OpenAnn:
    """The approximate search of one segment, mapped into memory. Raises DataError if damaged."""

    def __init__(self, path: Path, ann: Ann):
        self._faiss = import_faiss()
        self._probes = ann.probes
        try:
            self._index = self._faiss.read_index(str(path), self._faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            raise DataError(f"{path}: damaged (faiss cannot read it); {REBUILD}") from error

    def search(
        self, queries: np.ndarray, count: int, allowed: np.ndarray | None
    ) -> list[np.ndarray]:
        """For each unit query [Q, D] rows to compare again, ascending; only allowed ones."""
        faiss = self._faiss
        most = min(max(LEAST_FOUND, FOUND_PER_RESULT * count), self._index.ntotal)
        options = {"nprobe": self._probes}
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersIVF(**options)
        _, found = self._index.search(np.ascontiguousarray(queries), most, params=parameters)
        return [np.sort(rows[rows >= 0]) for rows in found]


def import_faiss() -> ModuleType:
    """The module. Raises ConfigError where it is not installed."""
    # It tells of each of its builds that it looks for in vain.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            'approximate search needs faiss: pip install "clamp3[ann]"; exact search does not'
        ) from error
    return faiss


def _built(faiss: ModuleType, opened: OpenSegment):
    rows, width = opened.vectors.shape
    lists = _lists(rows)
    index = faiss.index_factory(width, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = SEED
    draws = np.random.default_rng(SEED)
    sample = draws.choice(rows, min(rows, TRAINING_ROWS_PER_LIST * lists), replace=False)
    index.train(_unit(opened.vectors[np.sort(sample)]))
    for start in range(0, rows, ROWS_PER_BLOCK):
        index.add(_unit(opened.vectors[start : start + ROWS_PER_BLOCK]))
    return index


def _lists(rows: int) -> int:
    """About the square root, so that centres and the rows of a list take alike: 1,024 for a million
    rows; fewer where lists would be too short."""
    most = min(np.sqrt(rows) * np.sqrt(2), rows / LEAST_ROWS_PER_LIST)
    return max(1, 2 ** int(np.log2(max(most, 1))))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return unit_rows(vectors).astype(np.float32)


def _queries(opened: OpenSegment, space: str, settings: AnnSettings) -> tuple[np.ndarray, str]:
    """Some queries [Q, D] of length 1, always the same ones, and where they are from."""
    if settings.queries is None:
        order = np.random.default_rng(SEED).permutation(opened.entry.rows)[:CHECKED_QUERIES]
        return _unit(opened.vectors[np.sort(order)]), "rows of the index"
    vectors = read_vectors(settings.queries)
    if vectors.origin.space != space or vectors.embeddings.shape[1] != opened.vectors.shape[1]:
        raise DataError(
            f"{settings.queries}: queries of model {vectors.origin.space[:16]}, but the index is "
            f"of model {space[:16]}; embed them with that model"
        )
    order = sorted(range(len(vectors.ids)), key=lambda r: stable_hash(vectors.ids[r], "ann"))
    chosen = sorted(order[:CHECKED_QUERIES])
    if not chosen:
        raise DataError(f"{settings.queries}: no queries in it")
    return _unit(vectors.embeddings[chosen]), settings.queries.name


def _measured(
    opened: OpenSegment, path: Path, lists: int, queries: np.ndarray, wanted: float
) -> tuple[int, float]:
    """How many lists have to be looked through for the recall that is wanted, and the recall."""
    exact = [
        _best(opened, rows, query)
        for rows, query in zip(opened.scan(queries, CHECKED_COUNT, None), queries, strict=True)
    ]
    probes = 1
    while True:
        ann = OpenAnn(path, Ann(lists=lists, probes=probes, recall=0, count=0, queries=0, asked=""))
        found = ann.search(queries, CHECKED_COUNT, None)
        shared = [
            len(np.intersect1d(best, _best(opened, rows, query))) / max(1, len(best))
            for best, rows, query in zip(exact, found, queries, strict=True)
        ]
        recall = float(np.mean(shared))
        if recall >= wanted:
            return probes, round(recall, 6)
        if probes >= lists:
            raise ConfigError(
                f"a recall of {wanted} is out of reach: looking everywhere finds {recall:.4f}"
            )
        probes = min(2 * probes, lists)


def _best(opened: OpenSegment, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    cosines = opened.cosines(rows, query)
    return rows[np.lexsort((rows, -cosines))][:CHECKED_COUNT]
