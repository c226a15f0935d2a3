"""Embeddings of files as one Parquet table, made in parts so that a killed run is not lost."""

import glob
import logging
import shutil
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clamp3.files import atomic_path
from clamp3.retrieval.embedding.outputs import GROUP_BYTES, Making, Row
from clamp3.retrieval.vectors import CONTENT, LAYOUT, ORIGIN, ROWS_PER_GROUP

log = logging.getLogger(__name__)
OPEN_FILES = 200


class Place(NamedTuple):
    """Where a row lies."""

    path: Path
    row: int
    sha256: str


class ParquetOutput:
    """Columns id, modality, sha256, embedding, sorted by id; metadata say how it was made.

    `embedding` is fixed_size_list<float32>[D]; temporal features are a list of such, a row for each
    patch, token or frame. While the table is in the making, finished parts lie in the folder
    `<name>.parts` beside it; they and an earlier table are taken over where they were made alike.
    """

    def __init__(self, path: Path, making: Making):
        self.path = Path(path)
        self.making = making
        self._parts = self.path.with_name(f"{self.path.name}.parts")
        self._places: dict[str, Place] = {}
        for existing in (self.path, *sorted(self._parts.glob("part-*.parquet"))):
            self._take_over(existing)

    def known(self) -> dict[str, str]:
        """For each id of which there is a row already the SHA-256 of the content."""
        return {name: place.sha256 for name, place in self._places.items()}

    def write(self, rows: Sequence[Row]) -> None:
        """Keep these rows as one more part, complete or not at all."""
        new = sorted((row for row in rows if row.embedding is not None), key=lambda row: row.id)
        if not new:
            return
        path = self._parts / f"part-{self._next():06d}.parquet"
        with atomic_path(path) as draft:
            pq.write_table(self._table(new), draft, **LAYOUT)
        for place, row in enumerate(new):
            self._places[row.id] = Place(path, place, row.sha256)

    def close(self, ids: Sequence[str]) -> None:
        """Write the table of these rows, a row group in memory at a time, and remove the parts.

        Its bytes depend on the rows alone. Without any row nothing is written.
        """
        places = [self._places[name] for name in ids]
        if not places:
            return
        with atomic_path(self.path) as draft, pq.ParquetWriter(draft, self._schema, **LAYOUT) as to:
            for group in _regrouped(_slices(places), self.making):
                to.write_table(group.replace_schema_metadata(self._schema.metadata))
        drafts = self.path.parent.glob(f".{glob.escape(self.path.name)}.????????")  # of a kill
        for folder in (self._parts, *drafts):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def _schema(self) -> pa.Schema:
        width = self.making.width
        vector = pa.list_(pa.float32()) if width is None else pa.list_(pa.float32(), width)
        columns = {name: pa.string() for name in ("id", "modality", CONTENT)}
        columns["embedding"] = pa.list_(vector) if self.making.temporal else vector
        origin = {name: getattr(self.making.origin, name) for name in ORIGIN}
        return pa.schema(columns, metadata=origin | {"settings": self.making.mark})

    def _table(self, rows: Sequence[Row]) -> pa.Table:
        schema = self._schema
        words = ([getattr(row, name) for row in rows] for name in ("id", "modality", CONTENT))
        embeddings = _column(schema.field("embedding").type, [row.embedding for row in rows])
        return pa.table([*map(pa.array, words), embeddings], schema=schema)

    def _take_over(self, path: Path) -> None:
        """Remember the rows of a file that was made alike; later files count more."""
        if not path.is_file():
            return
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                mark = (schema.metadata or {}).get(b"settings", b"").decode()
                if not schema.equals(self._schema) or mark != self.making.mark:
                    return
                table = file.read(["id", CONTENT])
        except (OSError, pa.ArrowException) as error:
            log.warning("%s is damaged and made again (%s)", path, error)
            return
        for row, (name, sha256) in enumerate(zip(*table.to_pydict().values(), strict=True)):
            self._places[name] = Place(path, row, sha256)

    def _next(self) -> int:
        existing = [int(path.stem.removeprefix("part-")) for path in self._parts.glob("part-*")]
        return max(existing, default=-1) + 1


def _column(kind: pa.DataType, embeddings: Sequence[np.ndarray]) -> pa.Array:
    """The embeddings [D] or [N, D] as a column."""
    if isinstance(kind, pa.FixedSizeListType):
        return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(embeddings)), type=kind)
    values = pa.array(np.concatenate([rows.ravel() for rows in embeddings]))
    ends = np.cumsum([0, *(len(rows) for rows in embeddings)], dtype=np.int32)
    if isinstance(kind.value_type, pa.FixedSizeListType):
        vectors = pa.FixedSizeListArray.from_arrays(values, type=kind.value_type)
    else:
        widths = np.repeat([rows.shape[1] for rows in embeddings], np.diff(ends))
        vectors = pa.ListArray.from_arrays(np.cumsum([0, *widths], dtype=np.int32), values)
    return pa.ListArray.from_arrays(ends, vectors, type=kind)


def _slices(places: Sequence[Place]) -> Iterator[pa.Table]:
    """The rows as tables in their order: of each file one row group is in memory at a time."""
    readers: dict[Path, _Reader] = {}
    try:
        for path, own in groupby(places, key=lambda place: place.path):
            if path not in readers:
                if len(readers) == OPEN_FILES:
                    readers.pop(next(iter(readers))).close()
                readers[path] = _Reader(path)
            yield from readers[path].take([place.row for place in own])
    finally:
        for reader in readers.values():
            reader.close()


class _Reader:
    """Reads rows of a file that are asked for in growing order."""

    def __init__(self, path: Path):
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        groups = map(self._file.metadata.row_group, range(self._file.num_row_groups))
        self._ends = np.cumsum([0, *(group.num_rows for group in groups)])
        self._group = -1
        self._table: pa.Table | None = None

    def take(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        for group, own in groupby(
            rows, key=lambda row: int(np.searchsorted(self._ends, row, side="right")) - 1
        ):
            if group != self._group:
                self._group, self._table = group, self._file.read_row_group(group)
            inside = [row - int(self._ends[group]) for row in own]
            if inside[-1] - inside[0] == len(inside) - 1:
                yield self._table.slice(inside[0], len(inside))
            else:
                yield self._table.take(inside)
            if int(self._ends[group]) + inside[-1] + 1 == self._ends[-1]:
                self._table, self._group = None, -1  # its last row: give the memory back

    def close(self) -> None:
        self._file.close()


def _regrouped(tables: Iterator[pa.Table], making: Making) -> Iterator[pa.Table]:
    """The same rows in row groups whose borders depend on the rows alone."""
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        start = 0
        for row, own in enumerate(_row_bytes(table, making)):
            rows, size = rows + 1, size + own
            if rows >= ROWS_PER_GROUP or (making.temporal and size >= GROUP_BYTES):
                yield pa.concat_tables([*waiting, table.slice(start, row + 1 - start)])
                waiting, start, rows, size = [], row + 1, 0, 0
        if start < len(table):
            waiting.append(table.slice(start))
    if waiting:
        yield pa.concat_tables(waiting)


def _row_bytes(table: pa.Table, making: Making) -> np.ndarray:
    """About how many bytes of numbers each row has."""
    vector = 4 * (making.width or 1024)
    if not making.temporal:
        return np.full(len(table), vector)
    return pc.list_value_length(table.column("embedding")).to_numpy() * vector
