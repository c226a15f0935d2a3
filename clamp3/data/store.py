"""Random access to the pieces of the Parquet stores."""

import logging
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.data.raw_files.addresses import below, is_remote, local_path
from clamp3.data.raw_files.places import remote_names
from clamp3.data.raw_files.reading import local_copies
from clamp3.errors import DataError
from clamp3.files import read_table

COLUMNS = {".abc": "abc", ".mtf": "mtf", ".npy": "features"}  # a file's suffix, a store's column
PARTS = "part-*.parquet"
IN_MEMORY_BYTES = 2**28  # of a store's rows; those of a larger one stay on disk
_ROWS_A_CHUNK = 16  # read at once for any of them: features of five minutes are 3 MB

log = logging.getLogger(__name__)


class _Rows(NamedTuple):
    """The rows of all parts, in chunks of so many `lengths`; `chunk(number)` reads one."""

    column: str
    ids: list[str]
    lengths: list[int]
    chunk: Callable[[int], pa.Array]


class Store:
    """The texts or features of many pieces, by id.

    `source` is a folder of `part-*.parquet` files or the files themselves, also by addresses (see
    clamp3.data.raw_files), each with a column `id` and one of `abc`, `mtf`, `features`. The columns
    are read once, whole, into Arrow memory (about as many bytes as the texts have) when first asked
    for, and a row is then copied out of its chunk: reading rows of Parquet one by one is thousands
    of times slower, and joining chunks (`Table.take`) hundreds of times. Of more than
    `IN_MEMORY_BYTES` only the ids are held; the rows are laid out in a file without a name beside
    the parts, or their copies, which goes with this process.

    Raises DataError for unreadable parts, other columns, and an id that stands in two rows;
    StorageError.
    """

    def __init__(self, source: Path | str | Sequence[Path | str]):
        if isinstance(source, str | Path):
            self._where = str(source)
            self._parts = parts_in(str(source))
        else:
            self._parts = [str(part) for part in source]
            self._where = ", ".join(map(str, self._parts[:2])) + (", …" * (len(self._parts) > 2))
        if not self._parts:
            raise DataError(f"{self._where}: no {PARTS} there; expected the parts of a store")

    def __getstate__(self) -> dict:
        """Another process reads the parts itself: an open file cannot be sent."""
        return {"_where": self._where, "_parts": self._parts}

    @property
    def column(self) -> str:
        """What the store holds: `abc`, `mtf` or `features`."""
        return self._read.column

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all pieces, in the order of the parts."""
        return list(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, piece_id: object) -> bool:
        return piece_id in self._rows

    def get(self, piece_id: str) -> str | np.ndarray:
        """The text of a piece, or its features [F, E] as float32; yours to write to.

        Raises DataError for an unknown id.
        """
        row = self._rows.get(piece_id)
        if row is None:
            raise DataError(f"{self._where}: no piece {piece_id!r} among {len(self)}")
        number = bisect_right(self._ends, row)
        start = self._ends[number - 1] if number else 0
        value = self._read.chunk(number)[row - start]
        return value.as_py() if self.column != "features" else frames_of(value)

    @cached_property
    def _read(self) -> _Rows:
        with local_copies(self._parts) as parts:
            try:
                if _size_of(parts) > IN_MEMORY_BYTES:
                    return _laid_out(parts, self._where)
            except (OSError, pa.ArrowException) as error:
                log.info("%s: read into memory, not laid out in a file (%s)", self._where, error)
            return _in_memory(parts, self._where)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(self._read.lengths))

    @cached_property
    def _rows(self) -> dict[str, int]:
        column, ids = self.column, self._read.ids
        rows = {piece_id: row for row, piece_id in enumerate(ids)}
        if len(rows) < len(ids):
            twice = next(name for row, name in enumerate(ids) if rows[name] != row)
            raise DataError(f"{self._where}: {twice!r} stands in two rows of column {column}")
        return rows


def parts_in(folder: str) -> list[str]:
    """The addresses of the parts in a folder, sorted; none where there is no such folder."""
    if is_remote(folder):
        return [below(folder, name) for name in remote_names(folder, PARTS)]
    return [str(part) for part in sorted(Path(local_path(folder)).glob(PARTS))]


def _in_memory(parts: Sequence[Path], where: str) -> _Rows:
    table = read_table(parts)
    column = column_of(table.column_names, where)
    chunks = table[column].chunks
    return _Rows(column, table["id"].to_pylist(), list(map(len, chunks)), chunks.__getitem__)


def _laid_out(parts: Sequence[Path], where: str) -> _Rows:
    """The rows in a file without a name, for as long as somebody reads them.

    Read, not mapped into memory, so that nothing counts as this process's memory. Raises OSError
    and ArrowException where the parts cannot be read or the file cannot be written.
    """
    column = column_of(pq.read_schema(parts[0]).names, where)
    ids: list[str] = []
    lengths: list[int] = []
    with tempfile.TemporaryFile(dir=parts[0].parent) as file:
        with pa.ipc.new_file(file, pq.read_schema(parts[0])) as writer:
            for part in parts:
                with pq.ParquetFile(part, page_checksum_verification=True) as rows:
                    for batch in rows.iter_batches(_ROWS_A_CHUNK):
                        writer.write_batch(batch)
                        ids += batch["id"].to_pylist()
                        lengths.append(len(batch))
        file.flush()
        # Opened by its number, so that reading needs no place in the file that forks would share.
        laid_out = pa.ipc.open_file(pa.OSFile(f"/dev/fd/{file.fileno()}"))
    return _Rows(column, ids, lengths, lambda number: laid_out.get_batch(number)[column])


def _size_of(parts: Sequence[Path]) -> int:
    """The bytes of all rows, unpacked."""
    files = [pq.read_metadata(part) for part in parts]
    return sum(
        file.row_group(group).total_byte_size
        for file in files
        for group in range(file.num_row_groups)
    )


def column_of(names: Sequence[str], where: object) -> str:
    """The column with the pieces. Raises DataError where there is none, or no id."""
    found = [name for name in COLUMNS.values() if name in names]
    if len(found) != 1 or "id" not in names:
        raise DataError(
            f"{where}: columns {', '.join(names)}; expected id and one of "
            f"{', '.join(COLUMNS.values())}"
        )
    return found[0]


def frames_of(value: pa.ListScalar) -> np.ndarray:
    """`flatten`, not `values`, which forgets where a slice begins."""
    width = value.type.value_type.list_size
    flat = value.values.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=True).reshape(-1, width)
