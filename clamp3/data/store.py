"""Random access to the pieces of the Parquet stores, and to those in files of their own."""

import logging
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import DataError, FormatError
from clamp3.files import read_table

COLUMNS = {".abc": "abc", ".mtf": "mtf", ".npy": "features"}  # a file's suffix, a store's column
_PARTS = "part-*.parquet"
_ROWS_AT_ONCE = 256
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

    `source` is a folder of `part-*.parquet` files or the files themselves, each with a column
    `id` and one of `abc`, `mtf`, `features`. The columns are read once, whole, into Arrow memory
    (about as many bytes as the texts have) when first asked for, and a row is then copied out of
    its chunk: reading rows of Parquet one by one is thousands of times slower, and joining chunks
    (`Table.take`) hundreds of times. Of more than `IN_MEMORY_BYTES` only the ids are held; the rows
    are laid out in a file without a name beside the parts, which goes with this process.

    Raises DataError for unreadable parts, other columns, and an id that stands in two rows.
    """

    def __init__(self, source: Path | Sequence[Path]):
        if isinstance(source, str | Path):
            self._where = str(source)
            self._parts = sorted(Path(source).glob(_PARTS))
        else:
            self._parts = [Path(part) for part in source]
            self._where = ", ".join(map(str, self._parts[:2])) + (", …" * (len(self._parts) > 2))
        if not self._parts:
            raise DataError(f"{self._where}: no {_PARTS} there; expected the parts of a store")

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
        return value.as_py() if self.column != "features" else _frames(value)

    @cached_property
    def _read(self) -> _Rows:
        try:
            if _size_of(self._parts) > IN_MEMORY_BYTES:
                return _laid_out(self._parts, self._where)
        except (OSError, pa.ArrowException) as error:
            log.info("%s: read into memory, not laid out in a file (%s)", self._where, error)
        return _in_memory(self._parts, self._where)

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


def _in_memory(parts: Sequence[Path], where: str) -> _Rows:
    table = read_table(parts)
    column = _column_of(table.column_names, where)
    chunks = table[column].chunks
    return _Rows(column, table["id"].to_pylist(), list(map(len, chunks)), chunks.__getitem__)


def _laid_out(parts: Sequence[Path], where: str) -> _Rows:
    """The rows in a file without a name, for as long as somebody reads them.

    Read, not mapped into memory, so that nothing counts as this process's memory. Raises OSError
    and ArrowException where the parts cannot be read or the file cannot be written.
    """
    column = _column_of(pq.read_schema(parts[0]).names, where)
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


def _column_of(names: Sequence[str], where: object) -> str:
    """The column with the pieces. Raises DataError where there is none, or no id."""
    found = [name for name in COLUMNS.values() if name in names]
    if len(found) != 1 or "id" not in names:
        raise DataError(
            f"{where}: columns {', '.join(names)}; expected id and one of "
            f"{', '.join(COLUMNS.values())}"
        )
    return found[0]


def _frames(value: pa.ListScalar) -> np.ndarray:
    """`flatten`, not `values`, which forgets where a slice begins."""
    width = value.type.value_type.list_size
    flat = value.values.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=True).reshape(-1, width)


class PieceReader:
    """Reads what a manifest's filepath names, a file of its own or a row of a store."""

    def __init__(self, root: Path | str = "."):
        self._root = Path(root)
        self._stores: dict[Path, Store] = {}  # by folder of the parts
        self._found: dict[Path, Path] = {}  # the folder of the parts, by folder of the filepath

    def read(self, filepath: str) -> str | np.ndarray:
        """The text of `.abc` and `.mtf`, or the features [F, E] float32 of `.npy`.

        A file that exists is read as it is. Otherwise `data/interleaved/pdmx/Qm1.abc` is the row
        `pdmx/Qm1` of the store in `data/interleaved`: the longest of its parents that holds
        parts. Paths are relative to `root`; stores stay open.

        Raises FormatError for a file that cannot be used (`empty_file`, `not_text`,
        `bad_features`), DataError where there is neither file nor row.
        """
        path = self._root / filepath
        if path.suffix not in COLUMNS:
            raise DataError(f"{filepath}: expected a path that ends in {', '.join(COLUMNS)}")
        if path.is_file():
            return _read_features(path) if path.suffix == ".npy" else _read_text(path)
        store, piece_id = self._find(path)
        if store.column != COLUMNS[path.suffix]:
            raise DataError(f"{filepath}: the store there holds {store.column}")
        return store.get(piece_id)

    def sources(self, filepaths: Sequence[str]) -> list[Path]:
        """The files on disk that hold these pieces, each once: their own, or the parts of stores.

        Raises DataError where there is neither file nor store.
        """
        found: dict[Path, None] = {}
        folders: set[Path] = set()
        for filepath in filepaths:
            path = self._root / filepath
            if path.is_file():
                found[path] = None
            elif (folder := self._folder_of(path)) not in folders:
                folders.add(folder)
                found |= dict.fromkeys(sorted(folder.glob(_PARTS)))
        return list(found)

    def stream(self, filepaths: Sequence[str]) -> Iterator[tuple[str, str | np.ndarray]]:
        """Yield (filepath, piece) of each, as `read` gives it, a few rows of a store in memory.

        Files of their own come first, then those of stores in the order of their parts.

        Raises as `read` does.
        """
        stored: dict[Path, dict[str, str]] = {}  # of a store: filepaths by id and suffix
        for filepath in filepaths:
            path = self._root / filepath
            if path.suffix not in COLUMNS or path.is_file():
                yield filepath, self.read(filepath)
            else:
                folder = self._folder_of(path)
                name = path.relative_to(folder).as_posix()
                stored.setdefault(folder, {})[name] = filepath
        for folder, wanted in stored.items():
            yield from _stream_store(folder, wanted)

    def _folder_of(self, path: Path) -> Path:
        if path.parent not in self._found:
            self._found[path.parent] = self._folder_of_parts(path)
        return self._found[path.parent]

    def _find(self, path: Path) -> tuple[Store, str]:
        folder = self._folder_of(path)
        if folder not in self._stores:
            self._stores[folder] = Store(folder)
        return self._stores[folder], path.relative_to(folder).with_suffix("").as_posix()

    def _folder_of_parts(self, path: Path) -> Path:
        for folder in path.parents:
            if any(folder.glob(_PARTS)):
                return folder
            if folder == self._root:
                break
        raise DataError(f"{path}: no such file, and no store ({_PARTS}) in a folder above it")


def _stream_store(folder: Path, wanted: dict[str, str]) -> Iterator[tuple[str, str | np.ndarray]]:
    """The pieces of a store whose id with suffix is in `wanted`, with the filepaths there."""
    left = dict(wanted)
    for part in sorted(folder.glob(_PARTS)):
        try:
            with pq.ParquetFile(part, page_checksum_verification=True) as file:
                column = _column_of(file.schema_arrow.names, part)
                suffix = next(key for key, name in COLUMNS.items() if name == column)
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", column]):
                    for name, value in zip(batch["id"].to_pylist(), batch[column], strict=True):
                        if name + suffix in wanted:
                            filepath = left.pop(name + suffix, None)
                            if filepath is None:
                                raise DataError(f"{part}: {name!r} stands in two rows of the store")
                            yield filepath, _frames(value) if suffix == ".npy" else value.as_py()
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{part}: not a readable Parquet file ({error})") from error
    if left:
        raise DataError(
            f"{folder}: no piece {next(iter(left.values()))!r} among the rows of the store"
        )


def _read_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError("not_text", f"{path}: not UTF-8 text ({error})") from error
    if not text.strip():
        raise FormatError("empty_file", f"{path}: empty")
    return text


def _read_features(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            features = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FormatError(
            "bad_features", f"{path}: not a .npy file of numbers ({error})"
        ) from error
    if features.dtype.kind != "f":
        raise FormatError("bad_features", f"{path}: {features.dtype}, expected floating point")
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.ndim != 2 or 0 in features.shape:
        shape = list(features.shape)
        raise FormatError("bad_features", f"{path}: shape {shape}, expected [F, E] or [1, F, E]")
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise FormatError("bad_features", f"{path}: has numbers that are not finite")
    return features
