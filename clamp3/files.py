"""Files that are either complete or not there: atomic writing, Parquet, JSON, hashes."""

import errno
import fcntl
import glob
import hashlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from clamp3.errors import DataError, StorageError, advised

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # what only writing meets
WAIT_SECONDS = 30  # the job of a run that was just killed needs a moment to end

log = logging.getLogger(__name__)
ROWS_PER_GROUP = 8192  # text and metadata: compact, and one group still fits a cache


@contextmanager
def atomic_path(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """A temporary sibling to write to; it takes the place of `path` when the block ends well.

    Works for a file and for a folder (then the block creates the folder). After an exception or
    a kill `path` is as it was before; what a kill leaves of a draft, a later call removes, if it is
    to be `tidy`: it then looks through the whole folder.

    Raises StorageError, in place of what the block raises, where there is no room or no right to
    write.
    """
    path = Path(path)
    with _told_of_writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        workplace, lock = _workplace(path)
    try:
        if tidy:
            _remove_abandoned(path, workplace)
        draft = workplace / path.name
        with _told_of_writing(path, _UNWRITABLE):
            try:
                yield draft
            except StorageError as error:  # of a file in the draft of a folder
                raise StorageError(str(error).replace(str(draft), str(path))) from error
        with _told_of_writing(path):
            _flush(draft)
            if path.is_dir() and not path.is_symlink():
                os.replace(path, workplace / "replaced")
            os.replace(draft, path)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        os.close(lock)


def refuse_others_files(folder: Path, sign: Path) -> None:
    """Raise StorageError for a folder that was not written here, which `sign` would tell.

    For folders that are replaced as a whole: what a person keeps there would be lost.
    """
    if folder.is_dir() and any(folder.iterdir()) and not sign.exists():
        raise StorageError(
            f"{folder}: holds files that were not written by this program; they would be lost, "
            "because the folder is written anew: name another place to write to"
        )


def _workplace(path: Path) -> tuple[Path, int]:
    """A new folder for drafts, locked so that others see that somebody is writing there.

    Whoever looks for abandoned ones may have taken it away before it was locked; then another.
    """
    while True:
        workplace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            lock = os.open(workplace, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError:
            workplace.rmdir()
            raise
        if _locked(lock) is not False and workplace.is_dir():
            return workplace, lock
        os.close(lock)


def _locked(descriptor: int) -> bool | None:
    """Whether it could be locked: not where another has it; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(path: Path, workplace: Path) -> None:
    """Remove drafts of processes that were killed while they wrote the same path."""
    for other in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if other == workplace:
            continue
        with suppress(OSError):  # gone meanwhile, or a file
            lock = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
            if _locked(lock):
                shutil.rmtree(other, ignore_errors=True)
            os.close(lock)


@contextmanager
def alone_in(folder: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Keep other processes out of a folder for the block, which may delete it.

    Raises DataError when another process still is there after `wait_seconds`.
    """
    deadline = time.monotonic() + wait_seconds
    while (lock := _try_lock(Path(folder))) is None:
        if time.monotonic() > deadline:
            raise DataError(f"{folder}: another process works here; wait for it or end it first")
        time.sleep(0.2)
    try:
        yield
    finally:
        os.close(lock)


def _try_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock file of a folder; None if another process has it.

    The holder deletes the folder when it finishes: a lock on the deleted file is worth nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with suppress(FileNotFoundError):  # deleted meanwhile
        lock = os.open(path, os.O_RDWR | os.O_CREAT)
        locked = _locked(lock)
        if locked is None:
            log.warning("%s: no locks here: nothing keeps a second process out", folder)
        try:
            if locked is not False and os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        except FileNotFoundError:
            pass
        os.close(lock)
    return None


@contextmanager
def _told_of_writing(path: Path, numbers: Iterable[int] | None = None) -> Iterator[None]:
    """StorageError that names `path` where the block cannot write; `numbers`: for these alone."""
    try:
        yield
    except OSError as error:
        if numbers is not None and error.errno not in numbers:
            raise
        raise StorageError(f"{path}: cannot be written: {advised(error)}") from error
    except Exception as error:
        number = _number_in(str(error))
        if isinstance(error, DataError) or not number:
            raise
        told = advised(OSError(number, os.strerror(number)))
        raise StorageError(f"{path}: cannot be written: {told}") from error


def _number_in(text: str) -> int | None:
    """The error number that a library which writes by itself puts into words."""
    if "PytorchStreamWriter" in text or "unexpected pos" in text:
        return errno.ENOSPC  # torch.save, which does not say which
    found = re.search(r"\(os error (\d+)\)", text)  # Rust
    return int(found[1]) if found and int(found[1]) in _UNWRITABLE else None


def _flush(draft: Path) -> None:
    for file in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
            os.chmod(file, 0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its own line ends."""
    with atomic_path(path) as draft:
        draft.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON in the order of its keys."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line; only one is in memory at a time."""
    with atomic_path(path) as draft, open(draft, "wb") as lines:
        for row in rows:
            lines.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def parse_json(text: str | bytes) -> object:
    """The value of a JSON text. Raises ValueError for what is none, or is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested too deep: {error}") from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number from 1, object) for each non-empty line.

    Raises DataError that names file and line where a line is not a JSON object in UTF-8.
    """
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = parse_json(line.decode("utf-8"))
            except ValueError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, line {number}: found {type(row).__name__}, expected a JSON object"
                )
            yield number, row


def write_table(path: Path, table: pa.Table, *, dictionary: Iterable[str] = ()) -> None:
    """Write a Parquet file whose bytes depend on the table alone.

    `dictionary` names the categorical columns. Pages carry checksums, so a flipped byte is found.
    """
    with atomic_path(path) as draft:
        pq.write_table(
            table,
            draft,
            compression="zstd",
            compression_level=3,
            row_group_size=ROWS_PER_GROUP,
            use_dictionary=list(dictionary),
            write_page_checksum=True,
        )


def read_table(paths: Path | Iterable[Path], columns: list[str] | None = None) -> pa.Table:
    """The rows of one or several Parquet files, in the order given.

    Raises DataError that names the file which cannot be read or lacks a column.
    """
    tables = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                tables.append(file.read(columns))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a readable Parquet file ({error})") from error
        missing = [name for name in columns or [] if name not in tables[-1].column_names]
        if missing:
            raise DataError(f"{path}: no column {', '.join(missing)}")
    if not tables:
        raise DataError("no Parquet file given: expected at least one part")
    return pa.concat_tables(tables)


def read_array(path: Path) -> np.ndarray:
    """The array of a .npy file. Its header is believed only as far as the file has bytes for it.

    Raises OSError, and ValueError for what is no such file or holds objects.
    """
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with open(path, "rb") as file:
        version = npy.read_magic(file)
        if version not in headers:
            raise ValueError(f"a .npy file of version {version}, expected plain numbers")
        shape, _, kind = headers[version](file)
        promised, found = math.prod(shape) * kind.itemsize, os.fstat(file.fileno()).st_size
        if promised > found - file.tell():
            raise ValueError(f"the header promises {promised} bytes, the whole file has {found}")
        file.seek(0)
        return npy.read_array(file, allow_pickle=False)


def read_metadata(path: Path) -> pq.FileMetaData:
    """What a Parquet file says of itself; its rows are not read.

    Raises DataError that names the file which cannot be read.
    """
    try:
        return pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
