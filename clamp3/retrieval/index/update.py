"""What writers of an index put into files: new segments, and which rows of old ones are gone."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from clamp3.errors import DataError
from clamp3.files import atomic_path, sha256_of
from clamp3.retrieval.index.half_scan import to_half
from clamp3.retrieval.index.reader import Index
from clamp3.retrieval.index.rows import (
    KEY,
    WORDS,
    Metadata,
    PropertyValues,
    keys_of_rows,
    rows_of,
    rows_schema,
)
from clamp3.retrieval.index.segment import OpenSegment
from clamp3.retrieval.index.store import DELETED, ROWS, SCAN, SEGMENT, VECTORS, FileEntry, Segment
from clamp3.retrieval.vector_tables import VectorTable, VectorTree
from clamp3.retrieval.vectors import Vectors

Table = VectorTable | VectorTree


class SegmentWriter:
    """Writes a segment into a new folder, some rows at a time; to be used in a `with` block."""

    def __init__(self, folder: Path, width: int, properties: Iterable[str]):
        folder.mkdir()
        self._folder = folder
        self._width = width
        self._schema = rows_schema(sorted(properties))
        self._hashes = {name: hashlib.sha256() for name in (VECTORS, SCAN)}
        self._error = 0.0
        self.count = 0

    def __enter__(self) -> "SegmentWriter":
        with ExitStack() as stack:
            self._files = {
                name: stack.enter_context(open(self._folder / name, "wb")) for name in self._hashes
            }
            self._rows = stack.enter_context(pa.ipc.new_file(self._folder / ROWS, self._schema))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def append(self, embeddings: np.ndarray, rows: pa.Table) -> None:
        """Add embeddings [N, D] and what is known of them."""
        if not len(rows):
            return
        vectors = np.ascontiguousarray(embeddings, dtype="<f4")
        halves, error = to_half(vectors)
        for name, numbers in ((VECTORS, vectors), (SCAN, halves)):
            content = memoryview(numbers).cast("B")
            self._files[name].write(content)
            self._hashes[name].update(content)
        self._rows.write_table(conformed(rows, self._schema))
        self._error = max(self._error, error)
        self.count += len(rows)

    def entry(self, path: Path) -> Segment:
        """After the block: the segment, which has at least one row and lies at `path` now."""
        hashes = {name: digest.hexdigest() for name, digest in self._hashes.items()}
        hashes[ROWS] = sha256_of(path / ROWS)
        files = {
            name: FileEntry(size=(path / name).stat().st_size, sha256=digest)
            for name, digest in hashes.items()
        }
        return Segment(name=path.name, rows=self.count, error=self._error, files=files)


def conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with exactly the columns of the schema; those that they lack are empty."""
    columns = [
        rows.column(name) if name in rows.column_names else pa.nulls(len(rows), kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(columns, schema=schema)


def without_rows(folder: Path, segment: OpenSegment, rows: np.ndarray, generation: int) -> Segment:
    """The entry of a segment of which these rows do not count any more."""
    if not len(rows):
        return segment.entry
    live = np.ones(segment.entry.rows, dtype=bool) if segment.live is None else segment.live.copy()
    live[rows] = False
    content = np.flatnonzero(~live).astype("<u4").tobytes()
    name = f"{DELETED}{generation:06d}-{segment.entry.name}.u32"
    with atomic_path(Path(folder) / name) as draft:
        draft.write_bytes(content)
    return segment.entry.model_copy(
        update={
            "deleted": name,
            "deleted_rows": int(np.count_nonzero(~live)),
            "deleted_sha256": hashlib.sha256(content).hexdigest(),
        }
    )


class Update:
    """Brings the rows of tables into a new segment, beside the index that there is, or none."""

    def __init__(
        self, folder: Path, generation: int, width: int, metadata: Metadata, index: Index | None
    ):
        self._folder = folder
        self._name = f"{SEGMENT}{generation:06d}"
        self._width = width
        self._metadata = metadata
        self._old = OldRows(index)
        self._gone: list[np.ndarray] = [np.empty(0, np.int64)]
        self._unchanged = self._repeated = self._written = 0

    @property
    def deleted(self) -> list[np.ndarray]:
        """For each old segment the rows that are replaced."""
        return self._old.by_segment(np.concatenate(self._gone))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """How many rows were added, replaced, as before, and left out as repeated."""
        replaced = sum(map(len, self._gone))
        return self._written - replaced, replaced, self._unchanged, self._repeated

    def write(self, tables: Sequence[Table]) -> Segment | None:
        """The segment of all rows that are new or changed; None where there are none."""
        properties = {*self._old.properties, *self._metadata.properties}
        properties.update(name for table in tables for name in table.properties)
        path = self._folder / self._name
        with atomic_path(path) as draft, SegmentWriter(draft, self._width, properties) as writer:
            for new, old in self._rows(tables):
                changed = self._old.changed(new, old)
                writer.append(new.matrix[changed], new.rows.filter(pa.array(changed)))
                self._unchanged += int(np.count_nonzero(~changed))
                self._gone.append(old[changed & (old >= 0)])
        self._written = writer.count
        if not writer.count:
            shutil.rmtree(path)
            return None
        return writer.entry(path)

    def _rows(self, tables: Sequence[Table]) -> Iterator[tuple["New", np.ndarray]]:
        """All rows that count, a part at a time, and the old row that each replaces, or -1."""
        listed = [table.keys() for table in tables]
        keys = pd.Index(np.concatenate([keys_of_rows(rows) for rows in listed]), dtype=object)
        kept = ~keys.duplicated(keep="last")
        self._repeated = int(np.count_nonzero(~kept))
        places = self._old.places(keys)
        start = 0
        for table, rows in zip(tables, listed, strict=True):
            whole = slice(start, start + len(rows))
            known = self._metadata.places(rows.column("id").to_pylist())
            yield from self._parts(table, known, kept[whole], places[whole])
            start = whole.stop

    def _parts(
        self, table: Table, known: list[np.ndarray], kept: np.ndarray, places: np.ndarray
    ) -> Iterator[tuple["New", np.ndarray]]:
        start = 0
        for vectors in table.batches():
            part = slice(start, start + len(vectors.ids))
            if part.stop > len(kept):
                raise DataError(f"{table.path}: it grew while it was read; try again")
            rows = np.flatnonzero(kept[part])
            old = places[part][rows]
            values = self._metadata.values([place[part][rows] for place in known])
            yield self._old.completed(vectors.take(rows), values, old), old
            start = part.stop


@dataclass(frozen=True)
class New:
    """Rows to write: vectors [N, D], what is known of them, and which properties were told now."""

    matrix: np.ndarray
    rows: pa.Table
    told: list[str]


class OldRows:
    """The rows that count in an index; their places count through all segments."""

    def __init__(self, index: Index | None):
        self.segments: list[OpenSegment] = index.segments if index else []
        self.properties: list[str] = index.properties if index else []
        self._starts = np.cumsum([0, *(segment.entry.rows for segment in self.segments)])

    def places(self, keys: pd.Index) -> np.ndarray:
        """The place of the row with each key, -1 where there is none."""
        if not self.segments:
            return np.full(len(keys), -1, dtype=np.int64)
        live = [segment.rows_allowed() for segment in self.segments]
        own = [
            keys_of_rows(segment.rows)[rows]
            for segment, rows in zip(self.segments, live, strict=True)
        ]
        numbers = [start + rows for start, rows in zip(self._starts, live, strict=False)]
        found = pd.Index(np.concatenate(own), dtype=object).get_indexer(keys)
        return np.where(found >= 0, np.concatenate(numbers)[found], -1)

    def completed(self, vectors: Vectors, values: PropertyValues, old: np.ndarray) -> New:
        """The rows with what is told of them, and else what was known of those they replace."""
        rows = rows_of(vectors, values)
        told = [name for name in rows.column_names if name not in KEY]
        columns = dict(zip(rows.column_names, rows.columns, strict=True))
        for name in self.properties if (old >= 0).any() else ():
            known = self._values(name, old)
            if name in told:
                now = columns[name].to_pylist()
                known = [new or before for new, before in zip(now, known, strict=True)]
            columns[name] = pa.array(known, WORDS)
        return New(vectors.embeddings, pa.table(columns), told)

    def changed(self, new: New, old: np.ndarray) -> np.ndarray:
        """For each row whether the vector, or what is told of it, is not there already."""
        same = np.zeros(len(old), dtype=bool)
        for segment, start in zip(self.segments, self._starts, strict=False):
            rows = np.flatnonzero((old >= start) & (old < start + segment.entry.rows))
            same[rows] = (segment.vectors[old[rows] - start] == new.matrix[rows]).all(axis=1)
        for name in new.told if same.any() else ():
            before, now = self._values(name, old), new.rows.column(name).to_pylist()
            same &= np.array([b == n for b, n in zip(before, now, strict=True)], dtype=bool)
        return ~same

    def by_segment(self, places: np.ndarray) -> list[np.ndarray]:
        """The places as rows of each segment."""
        ends = self._starts[1:]
        return [
            places[(places >= start) & (places < end)] - start
            for start, end in zip(self._starts, ends, strict=False)
        ]

    def _values(self, name: str, places: np.ndarray) -> list[list[str] | None]:
        owners = np.searchsorted(self._starts, places, side="right") - 1
        found = []
        for place, owner in zip(places.tolist(), owners.tolist(), strict=True):
            rows = self.segments[owner].rows if place >= 0 else None
            known = rows is not None and name in rows.column_names
            found.append(rows.column(name)[place - self._starts[owner]].as_py() if known else None)
        return found
