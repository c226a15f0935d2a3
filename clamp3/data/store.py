"""Random access to the pieces of the Parquet stores, and to those in files of their own."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import DataError, FormatError
from clamp3.files import read_table

COLUMNS = {".abc": "abc", ".mtf": "mtf", ".npy": "features"}  # a file's suffix, a store's column
_PARTS = "part-*.parquet"
_ROWS_AT_ONCE = 256


class Store:
    """The texts or features of many pieces, by id.

    `source` is a folder of `part-*.parquet` files or the files themselves, each with a column
    `id` and one of `abc`, `mtf`, `features`. The columns are read once, whole, into Arrow memory
    (about as many bytes as the texts have) when first asked for, and a row is then copied out of
    its chunk: reading rows of Parquet one by one is thousands of times slower, and joining chunks
    (`Table.take`) hundreds of times.

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

    @cached_property
    def column(self) -> str:
        """What the store holds: `abc`, `mtf` or `features`."""
        found = [name for name in COLUMNS.values() if name in self._table.column_names]
        if len(found) != 1 or "id" not in self._table.column_names:
            raise DataError(
                f"{self._where}: columns {', '.join(self._table.column_names)}; expected id and "
                f"one of {', '.join(COLUMNS.values())}"
            )
        return found[0]

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
        value = self._chunks[number][row - start]
        return value.as_py() if self.column != "features" else _frames(value)

    @cached_property
    def _table(self) -> pa.Table:
        return read_table(self._parts)

    @cached_property
    def _chunks(self) -> list[pa.Array]:
        return self._table[self.column].chunks

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self._chunks)))

    @cached_property
    def _rows(self) -> dict[str, int]:
        column = self.column  # first, because it checks the columns
        ids = self._table["id"].to_pylist()
        rows = {piece_id: row for row, piece_id in enumerate(ids)}
        if len(rows) < len(ids):
            twice = next(name for row, name in enumerate(ids) if rows[name] != row)
            raise DataError(f"{self._where}: {twice!r} stands in two rows of column {column}")
        return rows


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
                names = [name for name in COLUMNS.values() if name in file.schema_arrow.names]
                if len(names) != 1 or "id" not in file.schema_arrow.names:
                    found = ", ".join(file.schema_arrow.names)
                    raise DataError(
                        f"{part}: columns {found}; expected id and one of "
                        f"{', '.join(COLUMNS.values())}"
                    )
                suffix = next(key for key, name in COLUMNS.items() if name == names[0])
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", *names]):
                    for name, value in zip(batch["id"].to_pylist(), batch[names[0]], strict=True):
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
