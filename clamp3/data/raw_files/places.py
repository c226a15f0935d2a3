"""Bytes of files, of this machine and of places that fsspec reaches: S3, Google Cloud and others.

A place that does not answer is asked again, after ever longer waits; then StorageError ends the
step, so that no piece is taken for broken because of a network.
"""

import errno
import hashlib
import io
import logging
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clamp3.data.raw_files.addresses import is_remote, local_path, refuse_secret
from clamp3.errors import DataError, StorageError, advised
from clamp3.files import sha256_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

WAITS_SECONDS = (1.0, 3.0, 9.0)  # between attempts, besides those that a client makes itself
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # on this machine
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_BLOCK_BYTES = 1 << 23
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "updated", "created")

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class LocalBytes:
    """A file of this machine, held open: it stays what it was when another takes its place."""

    def __init__(self, path: str):
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
        weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        self.name, self.size = path, status.st_size
        self.version = f"{status.st_size} {status.st_mtime_ns}"

    def __reduce__(self) -> tuple:
        """Another process opens the file itself."""
        return LocalBytes, (self.name,)

    def read(self, start: int, length: int) -> bytes:
        """The bytes from `start` on, fewer at the end of the file."""
        return os.pread(self._file, length, start)


class RemoteBytes:
    """A file elsewhere, read by ranges. Raises DataError where there is none."""

    def __init__(self, address: str):
        try:
            info = ask(address, lambda fs, path: fs.info(path))
        except _ABSENT as error:
            raise DataError(f"{address}: no such file") from error
        self.name, self.size = address, info["size"]
        known = [info[key] for key in _VERSION_KEYS if info.get(key)]
        self.version = f"{self.size} {known[0] if known else ''}"

    def read(self, start: int, length: int) -> bytes:
        """The bytes from `start` on, fewer at the end of the file."""
        end = min(start + length, self.size)
        return remote_read(self.name, start, end) if start < end else b""


class RangeFile(io.RawIOBase):
    """LocalBytes or RemoteBytes as a file that can be sought."""

    def __init__(self, source: LocalBytes | RemoteBytes):
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        data = self._source.read(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_bytes(address: str) -> LocalBytes | RemoteBytes:
    """The bytes of a file by its address. Raises DataError, StorageError."""
    return RemoteBytes(address) if is_remote(address) else LocalBytes(local_path(address))


def content_of(address: str) -> str:
    """What stands for the content of a file: its SHA-256, elsewhere size and ETag or time."""
    if is_remote(address):
        return RemoteBytes(address).version
    return sha256_of(Path(local_path(address)))


def buffered(source: LocalBytes | RemoteBytes) -> io.BufferedReader:
    """A file to read from beginning to end: elsewhere in few, large requests."""
    block = _BLOCK_BYTES if isinstance(source, RemoteBytes) else 1 << 18
    return io.BufferedReader(RangeFile(source), block)


def digest(text: str) -> str:
    """A short name for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remote_read(address: str, start: int, end: int) -> bytes:
    """The bytes from `start` to before `end`. Raises FileNotFoundError, StorageError."""
    return ask(address, lambda fs, path: fs.cat_file(path, start=start, end=end))


def remote_size(address: str) -> int | None:
    """The size in bytes; None where there is no file. Raises StorageError."""
    info = _ask_of(address, lambda fs, path: fs.info(path), {"type": None})
    return info["size"] if info["type"] == "file" else None


def is_remote_file(address: str) -> bool:
    """Whether there is a file. Raises StorageError."""
    return remote_size(address) is not None


def is_remote_folder(address: str) -> bool:
    """Whether there is a folder, or anything below one. Raises StorageError."""
    return _ask_of(address, lambda fs, path: fs.info(path)["type"] == "directory", False)


def remote_files(folder: str) -> dict[str, int]:
    """The size of every file below a folder, by address; empty where there is none."""
    folder = folder.rstrip("/")

    def listed(fs: "AbstractFileSystem", path: str) -> dict[str, int]:
        found = fs.find(path, detail=True)
        top = len(path.rstrip("/")) + 1
        return {f"{folder}/{name[top:]}": info["size"] or 0 for name, info in found.items()}

    return _ask_of(folder, listed, {})


def remote_names(folder: str, pattern: str) -> list[str]:
    """The names of what lies in a folder and fits, such as `part-*.parquet`, sorted."""

    def fitting(fs: "AbstractFileSystem", path: str) -> list[str]:
        return sorted(name.rpartition("/")[2] for name in fs.glob(f"{path}/{pattern}"))

    return _ask_of(folder, fitting, [])


def _ask_of(
    address: str, question: Callable[["AbstractFileSystem", str], Answer], nothing: Answer
) -> Answer:
    """`ask`; `nothing` where there is nothing."""
    try:
        return ask(address, question)
    except _ABSENT:
        return nothing


def ask(address: str, question: Callable[["AbstractFileSystem", str], Answer]) -> Answer:
    """What `question` makes of the file system of an address and the path there.

    Raises FileNotFoundError and its like as they are, StorageError where it is forbidden or
    nobody answers, DataError for a kind of place that needs a package more.
    """
    system, path = _file_system(address)
    for attempt, wait in enumerate((*WAITS_SECONDS, None), start=1):
        try:
            return question(system, path)
        except _ABSENT:
            raise
        except PermissionError as error:
            raise StorageError(
                f"{address}: no permission ({error}); are these the right credentials? Without "
                "the right to list a bucket, S3 says this of files that are not there, too"
            ) from error
        except Exception as error:  # each client has errors of its own for a network that is gone
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise no_room(address, error) from error
            if wait is None:
                raise StorageError(
                    f"{address}: cannot be reached, {attempt} times ({_said(error)}); "
                    "when it can, run the same command again"
                ) from error
            log.warning("%s: %s; asking again in %g s", address, _said(error), wait)
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def no_room(what: object, error: OSError) -> StorageError:
    """What to raise where a copy cannot be written."""
    told = f"{advised(error)} (TMPDIR says where copies go)"
    return StorageError(f"{what}: no copy can be made: {told}")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _file_system(address: str) -> tuple["AbstractFileSystem", str]:
    refuse_secret(address)
    import fsspec

    try:
        # Without its cache of listings: what was not there may be there a minute later.
        return fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        raise DataError(
            f"{address}: {error}. For s3:// that is pip install 'clamp3[s3]', for gs:// gcsfs"
        ) from error
    except ValueError as error:
        raise DataError(f"{address}: not a place that fsspec knows ({error})") from error
