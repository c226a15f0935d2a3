"""One segment of an index, open for searching."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.errors import DataError
from clamp3.retrieval.index.filters import Condition, matching
from clamp3.retrieval.index.half_scan import NO_ROW, candidates, scan_error, shared_scan
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.rows import ID, KEY, rows_schema
from clamp3.retrieval.index.store import (
    ANN,
    REBUILD,
    ROWS,
    SCAN,
    VECTORS,
    Segment,
    check_content,
    check_size,
)

KEPT_MATCHES = 16  # answers to conditions: a page asks the same ones again and again
ROWS_PER_BLOCK = 2048  # rescored at once: 25 MB at width 768


class OpenSegment:
    """The files of a segment, mapped into memory; nothing is read before it is needed.

    Raises DataError where they are damaged, FileNotFoundError where one is missing.
    """

    def __init__(self, folder: Path, entry: Segment, width: int):
        self.entry = entry
        self.folder = Path(folder) / entry.name
        for name, file in entry.files.items():
            check_size(self.folder / name, file)
        shape = (entry.rows, width)
        self.vectors = self._map(VECTORS, "<f4", shape)
        self._halves = self._map(SCAN, "<f2", shape)
        self._error = scan_error(entry.error, width)
        self.rows = self._read_rows()
        self.live = self._read_live(Path(folder))
        self._matches: dict[tuple[Condition, ...], np.ndarray] = {}
        self._lock = threading.Lock()
        self._ann: object | None = None

    def allowed(self, conditions: tuple[Condition, ...]) -> np.ndarray | None:
        """Which rows [N] count and meet the conditions; None where all do."""
        if not conditions:
            return self.live
        known = self._matches.get(conditions)
        if known is not None:
            return known
        found = matching(self.rows, conditions)
        found = found if self.live is None else found & self.live
        with self._lock:
            if len(self._matches) >= KEPT_MATCHES:
                self._matches.pop(next(iter(self._matches)))
            self._matches[conditions] = found
        return found

    def rows_allowed(self, conditions: tuple[Condition, ...] = ()) -> np.ndarray:
        """The rows that count and meet the conditions, ascending."""
        allowed = self.allowed(conditions)
        return np.arange(self.entry.rows) if allowed is None else np.flatnonzero(allowed)

    def scan(self, queries: np.ndarray, count: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        """For each unit query [Q, D] the rows that may be among its `count` nearest.

        None that is among them is missing.
        """
        products = shared_scan().products(self._halves, queries, allowed)
        # Written so that NaN is no good either.
        fits = products.max(initial=0) <= 1 + 2 * self._error and products.min(initial=0) >= NO_ROW
        if not fits:
            raise self._damaged(SCAN, "vectors whose length is not 1")
        return [candidates(row, count, self._error) for row in products]

    def ask_ann(
        self, queries: np.ndarray, count: int, allowed: np.ndarray | None
    ) -> list[np.ndarray]:
        """For each unit query [Q, D] some rows that are probably among its `count` nearest."""
        from clamp3.retrieval.index.ann import OpenAnn

        if self._ann is None:
            self._ann = OpenAnn(self.folder / ANN, self.entry.ann)
        return self._ann.search(queries, count, allowed)

    def cosines(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """The cosines [n] of rows with a query [D] in double precision, of the original vectors.

        The cosine of a row does not depend on which others are asked for.
        """
        parts = [
            cosines(self.vectors[rows[start : start + ROWS_PER_BLOCK]], query)
            for start in range(0, len(rows), ROWS_PER_BLOCK)
        ]
        found = np.concatenate([np.empty(0), *parts])
        if not np.isfinite(found).all():
            raise self._damaged(VECTORS, "NaN or infinity")
        return found

    def key(self, row: int) -> tuple[str, ...]:
        """Id, modality and field, empty where it has none."""
        return tuple(self.rows.column(name)[row].as_py() or "" for name in KEY)

    def hit(self, row: int, cosine: float) -> Hit:
        """A row as a search tells it."""
        line = {name: self.rows.column(name)[row].as_py() for name in self.rows.column_names}
        return Hit.of(line, cosine)

    def rows_of_id(self, name: str) -> np.ndarray:
        """The rows that count and have this id."""
        try:
            wanted = pa.scalar(name, pa.string())
        except UnicodeEncodeError:  # half a sign, which no table can hold
            return np.empty(0, np.int64)
        found = pc.equal(self.rows.column(ID), wanted).to_numpy().astype(bool)
        return np.flatnonzero(found if self.live is None else found & self.live)

    def check(self) -> None:
        """Raise DataError where the content of a file is not what was written."""
        for name, entry in self.entry.files.items():
            check_content(self.folder / name, entry)

    def _map(self, name: str, kind: str, shape: tuple[int, int]) -> np.ndarray:
        path = self.folder / name
        if path.stat().st_size != np.dtype(kind).itemsize * shape[0] * shape[1]:
            raise self._damaged(name, f"not {shape[0]} vectors of {shape[1]} numbers")
        return np.memmap(path, dtype=kind, mode="r", shape=shape).view(np.ndarray)

    def _read_rows(self) -> pa.Table:
        path = self.folder / ROWS
        try:
            with pa.memory_map(str(path)) as file:
                rows = pa.ipc.open_file(file).read_all()
            rows.validate(full=True)  # a flipped offset would else end the program
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(ROWS, str(error).splitlines()[0]) from error
        properties = [name for name in rows.column_names if name not in KEY]
        if len(rows) != self.entry.rows or not rows.schema.equals(rows_schema(properties)):
            raise self._damaged(ROWS, "not the rows that the manifest tells of")
        return rows

    def _read_live(self, folder: Path) -> np.ndarray | None:
        if self.entry.deleted is None:
            return None
        content = (folder / self.entry.deleted).read_bytes()
        if hashlib.sha256(content).hexdigest() != self.entry.deleted_sha256:
            raise DataError(f"{folder / self.entry.deleted}: damaged; {REBUILD}")
        live = np.ones(self.entry.rows, dtype=bool)
        live[np.frombuffer(content, dtype="<u4")] = False
        return live

    def _damaged(self, name: str, what: str) -> DataError:
        return DataError(f"{self.folder / name}: damaged ({what}); {REBUILD}")


def cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosines [N] of vectors [N, D] with a query [D], in double precision.

    Of each row alone, whatever the others are; a zero vector has cosine 0 to everything.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    query = np.asarray(query, dtype=np.float64)
    lengths = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((query * query).sum())
    products = (rows * query).sum(axis=1)
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths != 0)
