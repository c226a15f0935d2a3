"""Where the members of an archive lie, found out once and kept in the user's cache.

An index says for which size and time, or ETag, of the archive it holds. A compressed tar cannot be
read from the middle: every member would cost all before it. Its members are therefore kept there
as well, in one file, uncompressed.
"""

import fcntl
import gzip
import logging
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import pyarrow as pa

from clamp3.data.raw_files.places import LocalBytes, RemoteBytes, buffered, digest, open_bytes
from clamp3.errors import DataError
from clamp3.files import atomic_path, read_table, write_table

_VERSION = "1"  # of the index; another one is made again
_SCHEMA = pa.schema(
    {
        "name": pa.string(),  # in the archive, without ./
        "offset": pa.int64(),  # tar: of the content; zip: of the member's header
        "stored": pa.int64(),  # bytes in the archive
        "size": pa.int64(),  # bytes of the content
        "method": pa.int8(),  # of zip; -1: plain, without a header
        "checksum": pa.int64(),  # CRC-32 in a zip archive
        "refused": pa.string(),  # why this member is not read
    }
)
PLAIN = -1
_MAX_RATIO = 50  # of all that a compressed tar unpacks to
_MIN_LIMIT_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 20
_UNREAD = (".pdf", ".json", ".png", ".svg")  # large in PDMX, and used by no stage
_LEFT_OUT = "of a kind that is left out of .tar.gz archives; in .tar and .zip it can be read"
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)
_DAMAGED += (lzma.LZMAError, struct.error, ValueError)

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A member as the index has it; see _SCHEMA."""

    name: str
    offset: int
    stored: int
    size: int
    method: int = PLAIN
    checksum: int | None = None
    refused: str | None = None


def cache_home() -> Path:
    """Where what can be made again is kept: $XDG_CACHE_HOME/clamp3, by default ~/.cache/clamp3."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clamp3"


def open_indexed(address: str) -> tuple[LocalBytes | RemoteBytes, pa.Table]:
    """Where the members are read, and the index, made first if need be."""
    archive = open_bytes(address)
    name = archive.name if isinstance(archive, RemoteBytes) else os.path.realpath(archive.name)
    place = cache_home() / "archives" / f"{PurePosixPath(name).name}-{digest(name)}"
    with _locked(place):
        index = _kept(place, archive.version)
        if index is None:
            _make(archive, place)
            index = _kept(place, archive.version)
        copy = place / "members"
        return (LocalBytes(str(copy)) if copy.exists() else archive), index


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the index of an archive, so that of many jobs one makes it and the others wait."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = open(place.with_name(f"{place.name}.lock"), "a")  # noqa: SIM115
    except OSError as error:
        raise DataError(
            f"{place.parent}: cannot be written ({error.strerror}); it keeps where the members of "
            "archives lie. XDG_CACHE_HOME names another cache"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(place: Path, version: str) -> pa.Table | None:
    """The index, if there is one and it is of this version of the archive."""
    path = place / "index.parquet"
    if not path.exists():
        return None
    index = read_table(path)
    told = index.schema.metadata or {}
    current = told.get(b"archive") == version.encode() and told.get(b"index") == _VERSION.encode()
    return index if current else None


def _make(archive: LocalBytes | RemoteBytes, place: Path) -> None:
    """Go through the archive and write its index and, of a compressed tar, its members."""
    for dead in place.parent.glob(f".{place.name}.*"):  # of a process that was killed
        shutil.rmtree(dead, ignore_errors=True)
    log.info("%s: finding its members, once", archive.name)
    packed = archive.name.lower().endswith(("gz", "tgz"))
    try:
        with atomic_path(place) as draft:
            draft.mkdir()
            if archive.name.lower().endswith(".zip"):
                entries = _zip_entries(archive)
            elif packed:
                with open(draft / "members", "wb") as copy:
                    entries = _copied_entries(archive, copy)
            else:
                entries = _tar_entries(archive)
            _write_index(entries, archive, draft / "index.parquet")
    except _DAMAGED as error:
        raise DataError(
            f"{archive.name}: damaged ({error}); delete it and download it again"
        ) from error
    except OSError as error:
        more = "; its members are kept there uncompressed" if packed else ""
        raise DataError(
            f"{archive.name}: cannot be read into {place.parent} ({error}){more}. XDG_CACHE_HOME "
            "names another cache"
        ) from error


def _write_index(entries: list[Entry], archive: LocalBytes | RemoteBytes, path: Path) -> None:
    known: dict[str, Entry] = {}
    unfit = []
    for entry in entries:
        name = _clean_name(entry.name)
        if name is None:
            unfit.append(entry.name)
        elif name in known:
            twice = "one of several members of this name"
            known[name] = entry._replace(name=name, refused=twice)
        else:
            known[name] = entry._replace(name=name)
    if unfit:
        log.warning(
            "%s: %d members are passed over, as their names are no paths inside of a folder, for "
            "example %r",
            archive.name,
            len(unfit),
            unfit[0][:200],
        )
    columns = zip(*known.values(), strict=True) if known else [()] * len(_SCHEMA)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, _SCHEMA.types, strict=True)]
    told = {"archive": archive.version, "index": _VERSION}
    write_table(path, pa.table(arrays, schema=_SCHEMA).replace_schema_metadata(told))


def _clean_name(name: str) -> str | None:
    """The name without `.` and doubled slashes; None for one that could leave the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        return None
    if not path.parts or path.parts[0].endswith(":"):
        return None
    return path.as_posix()


def is_hidden(name: str) -> bool:
    """Whether it is what systems leave in archives rather than people."""
    parts = PurePosixPath(name).parts
    return parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] == ".DS_Store"


def _zip_entries(archive: LocalBytes | RemoteBytes) -> list[Entry]:
    with zipfile.ZipFile(buffered(archive)) as opened:
        return [_zip_entry(info) for info in opened.infolist() if not info.is_dir()]


def _zip_entry(info: zipfile.ZipInfo) -> Entry:
    refused = None
    if info.external_attr >> 16 & 0o170000 not in (0, 0o100000):
        refused = "a link or device"
    elif info.flag_bits & 1:
        refused = "encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refused = f"packed by method {info.compress_type}, not 8"
    return Entry(
        # What zipfile cuts off at a NUL character would be another name.
        info.orig_filename,
        info.header_offset,
        info.compress_size,
        info.file_size,
        0 if refused else info.compress_type,
        info.CRC,
        refused,
    )


def _tar_entries(archive: LocalBytes | RemoteBytes) -> list[Entry]:
    entries = []
    for entry, _ in _members(buffered(archive)):
        if entry.offset_data + entry.size > archive.size:
            raise EOFError(f"it ends within {entry.name}")
        entries.append(_tar_entry(entry, entry.offset_data))
    return entries


def _copied_entries(archive: LocalBytes | RemoteBytes, copy: IO[bytes]) -> list[Entry]:
    """The members of a compressed tar, their contents written one after the other."""
    limit = max(_MAX_RATIO * archive.size, _MIN_LIMIT_BYTES)
    entries, written = [], 0
    with gzip.open(buffered(archive)) as stream:
        for entry, opened in _members(stream):
            known = _tar_entry(entry, written)
            if known.refused is None and entry.name.lower().endswith(_UNREAD):
                known = known._replace(refused=_LEFT_OUT)
            if entry.offset_data + entry.size > limit:
                raise DataError(f"{archive.name}: unpacks to more than {limit} bytes")
            if known.refused is None:
                _copy(opened, entry, copy)
                written += entry.size
            entries.append(known)
        while stream.read(_CHUNK_BYTES):
            pass  # to where gzip keeps its checksum
    return entries


def _copy(opened: tarfile.TarFile, entry: tarfile.TarInfo, copy: IO[bytes]) -> None:
    content, left = opened.extractfile(entry), entry.size
    while left:
        chunk = content.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise EOFError(f"it ends within {entry.name}")
        copy.write(chunk)
        left -= len(chunk)


def _tar_entry(entry: tarfile.TarInfo, offset: int) -> Entry:
    refused = None
    if not entry.isreg() or entry.issparse():
        refused = "a link, a device or a file with holes"
    return Entry(entry.name, offset, entry.size, entry.size, refused=refused)


class _Blocks:
    """A file that remembers what was read last."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.last = b""
        self.seek, self.tell = file.seek, file.tell

    def read(self, length: int) -> bytes:
        data = self._file.read(length)
        if length == tarfile.BLOCKSIZE:
            self.last = data
        return data


def _members(file: IO[bytes]) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the members of a tar but its folders, in order, each once.

    Raises EOFError where no empty block marks the end: tarfile takes a file that was cut, or
    overwritten in the middle, for a whole one.
    """
    blocks = _Blocks(file)
    with tarfile.open(fileobj=blocks, mode="r:") as opened:
        while (entry := opened.next()) is not None:
            if not entry.isdir():
                yield entry, opened
            opened.members.clear()  # it would keep them all
    if blocks.last != bytes(tarfile.BLOCKSIZE):
        raise EOFError("it ends without an end mark")
