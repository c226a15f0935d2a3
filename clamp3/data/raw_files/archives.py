"""Members of tar and zip archives, read one by one in any order without unpacking."""

import struct
import zipfile
import zlib

from clamp3.data.raw_files.archive_index import PLAIN, Entry, is_hidden, open_indexed
from clamp3.data.raw_files.places import LocalBytes, RemoteBytes
from clamp3.errors import FormatError

_SMALL_BYTES = 1024  # what a ratio of compression is told by, at least
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: magic, length of name and of extra
_EXTRA_BYTES = 512  # that most members' extra fields do not exceed


class Archive:
    """The members of an archive by name. Raises DataError for a damaged one, StorageError.

    Members may all lie in one folder, whose name can be left out: `1/11/Qm1.mxl` finds
    `mxl/1/11/Qm1.mxl`. Names that are absolute, have `..` or are no POSIX paths find nothing.
    """

    def __init__(self, address: str):
        self.address = address
        self._source, index = open_indexed(address)
        self._table = index.combine_chunks()
        self._sizes = index["size"].to_numpy()
        names = index["name"].to_pylist()
        self._rows = {name: row for row, name in enumerate(names)}
        tops = {name.partition("/")[0] for name in names if not is_hidden(name)}
        self._top = f"{tops.pop()}/" if len(tops) == 1 else ""

    def names_below(self, folder: str) -> list[str]:
        """The members below a folder (of all, if it has no name), as they are called from there."""
        start = f"{folder}/" if folder else ""
        names = [name for name in self._rows if not is_hidden(name)]
        for top in (self._top + start, start):
            if found := [name[len(top) :] for name in names if name.startswith(top)]:
                return found
        return []

    def size(self, name: str) -> int | None:
        """The bytes of a member's content; None where there is no such member."""
        row = self._row(name)
        return None if row is None else int(self._sizes[row])

    def read(self, name: str, max_bytes: int, max_ratio: float) -> bytes:
        """The content of a member.

        Raises FormatError: `missing_file`; `too_large` for more than `max_bytes`, or packed
        tighter than `max_ratio`; `bad_member` for a link, a device, an encrypted or damaged
        member and one of several of the same name.
        """
        row = self._row(name)
        if row is None:
            raise FormatError("missing_file", f"{self.address}: no member {name}")
        entry = Entry(**self._table.slice(row, 1).to_pylist()[0])
        if entry.refused:
            raise FormatError("bad_member", f"{self.address}: {name} is {entry.refused}")
        if entry.size > max_bytes:
            raise FormatError(
                "too_large", f"a file of {entry.size} bytes; expected at most {max_bytes}"
            )
        if entry.size > max_ratio * max(entry.stored, _SMALL_BYTES):
            raise FormatError(
                "too_large",
                f"{name} would unpack to {entry.size} bytes from {entry.stored}; expected at most "
                f"{max_ratio} for one",
            )
        try:
            return self._content(entry)
        except (zlib.error, struct.error, ValueError) as error:
            raise FormatError("bad_member", f"{self.address}: {name}: {error}") from error

    def _row(self, name: str) -> int | None:
        row = self._rows.get(name)
        return self._rows.get(self._top + name) if row is None and self._top else row

    def _content(self, entry: Entry) -> bytes:
        if entry.method == PLAIN:
            data = self._source.read(entry.offset, entry.stored)
        else:
            data = _unzipped(self._source, entry)
        if len(data) != entry.size:
            raise ValueError(f"{len(data)} bytes, expected {entry.size}")
        if entry.checksum is not None and zlib.crc32(data) != entry.checksum:
            raise ValueError("its checksum is wrong")
        return data


def _unzipped(source: LocalBytes | RemoteBytes, entry: Entry) -> bytes:
    """What a zip member unpacks to, at most one byte more than it should."""
    head = _LOCAL_HEADER.size
    guess = head + len(entry.name.encode()) + _EXTRA_BYTES
    data = source.read(entry.offset, guess + entry.stored)
    magic, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
    if magic != b"PK\x03\x04":
        raise ValueError("no member begins where the directory says")
    start = head + name_bytes + extra_bytes
    if start + entry.stored > len(data):
        data, start = source.read(entry.offset + start, entry.stored), 0
    packed = data[start : start + entry.stored]
    if entry.method == zipfile.ZIP_STORED:
        return packed
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1)
