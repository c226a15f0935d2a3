"""Archives from elsewhere, unpacked so that nothing leaves the folder or fills the disk."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa

from clamp3.errors import DataError

_MAX_RATIO = 50  # of what is unpacked to the archive; MIDI files have 3 to 5, JSON up to 20
_MIN_LIMIT_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)


Member = tuple[str, IO[bytes] | None]  # name and content of a file; a folder has no content


def unpack(archive: Path, folder: Path, *, limit_bytes: int | None = None) -> int:
    """Unpack a .tar(.gz, .bz2, .xz), .zip, .gz or .zst into `folder`; returns the number of files.

    Everything is unpacked beside the folder's files first and moved when it is complete; files of
    the same names are replaced, others stay. `limit_bytes`: of all files together (None: 50 times
    the archive). Owners, rights and times in the archive do not count.

    Raises DataError for a damaged archive, one with links, devices or names that leave the folder,
    and one that unpacks to more than the limit or the disk holds. Then nothing has changed.
    """
    archive, folder = Path(archive), Path(folder)
    limit = limit_bytes or max(_MAX_RATIO * archive.stat().st_size, _MIN_LIMIT_BYTES)
    folder.mkdir(parents=True, exist_ok=True)
    workplace = folder / f".unpacking.{archive.name}"
    shutil.rmtree(workplace, ignore_errors=True)  # of a run that was killed
    workplace.mkdir()
    try:
        with _members(archive) as members:
            count = _write_all(members, workplace, limit, archive)
        _move(workplace, folder)
    except _DAMAGED as error:
        raise DataError(f"{archive}: damaged ({error}); delete it and download it again") from error
    except OSError as error:
        raise DataError(f"{archive}: cannot be unpacked into {folder} ({error})") from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return count


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    with open(archive, "rb") as file:
        start = file.read(4)
    if zipfile.is_zipfile(archive) and start.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened, archive)
    elif start == b"\x28\xb5\x2f\xfd":
        with pa.input_stream(str(archive), compression="zstd") as stream:
            yield iter([(archive.name.removesuffix(".zst"), stream)])
    elif _is_tar(archive):
        with tarfile.open(archive, "r|*") as opened:
            yield _tar_members(opened, archive)
    elif start.startswith(b"\x1f\x8b"):
        with gzip.open(archive) as stream:
            yield iter([(archive.name.removesuffix(".gz"), stream)])
    else:
        raise DataError(f"{archive}: neither tar, zip, gzip nor zstd; delete it and try again")


def _is_tar(archive: Path) -> bool:
    try:
        with tarfile.open(archive, "r|*") as opened:
            return opened.next() is not None
    except (*_DAMAGED, OSError):
        return archive.name.removesuffix(".gz").endswith((".tar", ".tgz"))


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[Member]:
    for entry in opened:
        if entry.isdir():
            yield entry.name, None
        elif entry.isreg():
            yield entry.name, opened.extractfile(entry)
        else:
            kind = "a link" if entry.issym() or entry.islnk() else "a device or pipe"
            raise DataError(f"{archive}: {entry.name!r} is {kind}; expected files and folders")


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[Member]:
    for entry in opened.infolist():
        if entry.is_dir():
            yield entry.filename, None
            continue
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise DataError(f"{archive}: {entry.filename!r} is a link; expected files and folders")
        if entry.flag_bits & 1:
            raise DataError(f"{archive}: {entry.filename!r} is encrypted")
        with opened.open(entry) as content:
            yield entry.filename, content


def _write_all(members: Iterator[Member], folder: Path, limit: int, archive: Path) -> int:
    count, left = 0, min(limit, shutil.disk_usage(folder).free)
    for name, content in members:
        path = folder / _checked_name(name, archive)
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as output:
            while chunk := content.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise DataError(
                        f"{archive}: unpacks to more than {limit} bytes or than the disk holds"
                    )
                output.write(chunk)
        count += 1
    return count


def _checked_name(name: str, archive: Path) -> PurePosixPath:
    """The name without `.` and doubled slashes. Raises DataError if it could leave the folder."""
    path = PurePosixPath(name)
    windows = "\\" in name or (path.parts and path.parts[0].endswith(":"))
    if path.is_absolute() or ".." in path.parts or windows or "\0" in name:
        raise DataError(f"{archive}: {name!r} would leave the folder; do not trust this archive")
    return path


def _move(workplace: Path, folder: Path) -> None:
    for parent, _, names in os.walk(workplace):
        target = folder / Path(parent).relative_to(workplace)
        target.mkdir(exist_ok=True)
        for name in names:
            os.replace(Path(parent) / name, target / name)
