"""Pieces by the filepaths of manifests: files of their own, or rows of stores."""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.data.raw_files.addresses import is_remote, local_path, parent
from clamp3.data.raw_files.places import remote_names
from clamp3.data.raw_files.reading import RawFiles, local_copy, speaking_of, write_copy
from clamp3.data.store import COLUMNS, PARTS, Store, column_of, frames_of, parts_in
from clamp3.errors import DataError, FormatError
from clamp3.files import read_array

_MAX_FILE_BYTES = 1 << 30  # of a piece in a file of its own elsewhere
_ROWS_AT_ONCE = 256


class PieceReader:
    """Reads what a manifest's filepath names, a file of its own or a row of a store.

    A filepath may be an address elsewhere (`s3://bucket/data/mtf/pdmx/Qm1.mtf`). There a store
    above goes before a file of that name, which would have to be asked for one by one.
    """

    def __init__(self, root: Path | str = "."):
        self._root = Path(root)
        self._stores: dict[str, Store] = {}  # by folder of the parts
        # The folder of the parts, by folder of the filepath; none where files elsewhere lie alone.
        self._found: dict[str, str | None] = {}

    def read(self, filepath: str) -> str | np.ndarray:
        """The text of `.abc` and `.mtf`, or the features [F, E] float32 of `.npy`.

        A file that exists is read as it is. Otherwise `data/interleaved/pdmx/Qm1.abc` is the row
        `pdmx/Qm1` of the store in `data/interleaved`: the longest of its parents that holds
        parts. Paths are relative to `root`; stores stay open.

        Raises FormatError for a file that cannot be used (`empty_file`, `not_text`,
        `bad_features`), DataError where there is neither file nor row.
        """
        place, suffix = self._place(filepath), PurePosixPath(filepath).suffix
        if suffix not in COLUMNS:
            raise DataError(f"{filepath}: expected a path that ends in {', '.join(COLUMNS)}")
        folder = self._store_of(place)
        if folder is None:
            with local_copy(place) as path:
                return _read_file(path)
        store = self._stores.get(folder) or self._stores.setdefault(folder, Store(folder))
        if store.column != COLUMNS[suffix]:
            raise DataError(f"{filepath}: the store there holds {store.column}")
        return store.get(_inside(place, folder).removesuffix(suffix))

    def sources(self, filepaths: Sequence[str]) -> list[str]:
        """The files that hold these pieces, each once: their own, or the parts of stores.

        Raises DataError where there is neither file nor store.
        """
        found: dict[str, None] = {}
        folders: set[str] = set()
        for filepath in filepaths:
            place = self._place(filepath)
            folder = self._store_of(place)
            if folder is None:
                found[place] = None
            elif folder not in folders:
                folders.add(folder)
                found |= dict.fromkeys(parts_in(folder))
        return list(found)

    def stream(self, filepaths: Sequence[str]) -> Iterator[tuple[str, str | np.ndarray]]:
        """Yield (filepath, piece) of each, as `read` gives it, a few rows of a store in memory.

        Files of their own come first, then those of stores in the order of their parts.

        Raises as `read` does.
        """
        stored: dict[str, dict[str, str]] = {}  # of a store: filepaths by id and suffix
        alone = []
        for filepath in filepaths:
            place = self._place(filepath)
            is_known = PurePosixPath(filepath).suffix in COLUMNS
            folder = self._store_of(place) if is_known else None
            if folder is not None:
                stored.setdefault(folder, {})[_inside(place, folder)] = filepath
            elif is_known and is_remote(place):
                alone.append(place)
            else:
                yield filepath, self.read(filepath)
        yield from _fetched(alone)
        for folder, wanted in stored.items():
            yield from _stream_store(folder, wanted)

    def _place(self, filepath: str) -> str:
        return filepath if is_remote(filepath) else str(self._root / local_path(filepath))

    def _store_of(self, place: str) -> str | None:
        """The folder of the store that has the piece as a row; None for a file of its own.

        Raises DataError where there is neither.
        """
        if not is_remote(place) and Path(place).is_file():
            return None
        folder = parent(place)
        if folder not in self._found:
            look = _far_folder_of_parts if is_remote(place) else self._folder_of_parts
            self._found[folder] = look(place)
        return self._found[folder]

    def _folder_of_parts(self, place: str) -> str:
        for folder in Path(place).parents:
            if any(folder.glob(PARTS)):
                return str(folder)
            if folder == self._root:
                break
        raise DataError(f"{place}: no such file, and no store ({PARTS}) in a folder above it")


def _far_folder_of_parts(address: str) -> str | None:
    """Up to the bucket."""
    folder = parent(address)
    while folder.partition("://")[2]:
        if remote_names(folder, PARTS):
            return folder
        folder = parent(folder) if "/" in folder.partition("://")[2] else ""
    return None


def _inside(place: str, folder: str) -> str:
    return place if folder == "." else place[len(folder.rstrip("/")) + 1 :]


def _fetched(addresses: Sequence[str]) -> Iterator[tuple[str, str | np.ndarray]]:
    """The pieces in files elsewhere, some of which are on their way at once."""
    with RawFiles(addresses, max_bytes=_MAX_FILE_BYTES) as files, TemporaryDirectory() as place:
        for address in addresses:
            copy = Path(place, "piece").with_suffix(PurePosixPath(address).suffix)
            try:
                write_copy(copy, files.fetch(address))
            except FormatError as error:
                if error.kind != "missing_file":
                    raise
                raise DataError(
                    f"{address}: no such file, and no store ({PARTS}) in a folder above it"
                ) from error
            with speaking_of(address, copy):
                piece = _read_file(copy)
            yield address, piece


def _stream_store(folder: str, wanted: dict[str, str]) -> Iterator[tuple[str, str | np.ndarray]]:
    """The pieces of a store whose id with suffix is in `wanted`, with the filepaths there."""
    left = dict(wanted)
    for part in parts_in(folder):
        with local_copy(part) as copy:
            for name, piece in _stream_part(copy, wanted):
                filepath = left.pop(name, None)
                if filepath is None:
                    raise DataError(f"{part}: {name!r} stands in two rows of the store")
                yield filepath, piece
    if left:
        raise DataError(
            f"{folder}: no piece {next(iter(left.values()))!r} among the rows of the store"
        )


def _stream_part(part: Path, wanted: Container[str]) -> Iterator[tuple[str, str | np.ndarray]]:
    """The rows of a part that are wanted, by id and suffix."""
    try:
        with pq.ParquetFile(part, page_checksum_verification=True) as file:
            column = column_of(file.schema_arrow.names, part)
            suffix = next(key for key, name in COLUMNS.items() if name == column)
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["id", column]):
                for name, value in zip(batch["id"].to_pylist(), batch[column], strict=True):
                    if name + suffix in wanted:
                        piece = frames_of(value) if suffix == ".npy" else value.as_py()
                        yield name + suffix, piece
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{part}: not a readable Parquet file ({error})") from error


def _read_file(path: Path) -> str | np.ndarray:
    return _read_features(path) if path.suffix == ".npy" else _read_text(path)


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
        features = read_array(path)
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
