"""Raw inputs by address: files of this machine, members of archives, objects in a bucket."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

from clamp3.data.raw_files.addresses import (
    Member,
    find_local_member,
    find_member,
    is_remote,
    local_path,
    parent,
)
from clamp3.data.raw_files.archives import Archive
from clamp3.data.raw_files.places import (
    ask,
    is_remote_file,
    is_remote_folder,
    no_room,
    remote_files,
    remote_read,
    remote_size,
)
from clamp3.data.sources import file_sizes
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.formats.limits import DEFAULT_LIMITS

_AHEAD = 16  # files elsewhere that are on their way while one is worked on
_MAX_LIST_BYTES = 1 << 33  # of a table or list of pieces


class RawFiles:
    """Reads what addresses name, a file at a time; archives stay open.

    `upcoming` are the addresses in the order in which they will be asked for: what lies elsewhere
    is fetched ahead, `ahead` at once. A file of more than `max_bytes` is refused, and a member that
    is packed tighter than `max_ratio`. As a context manager it lets go of what is under way.
    """

    def __init__(
        self,
        upcoming: Iterable[str] = (),
        *,
        max_bytes: int = DEFAULT_LIMITS.max_document_bytes,
        max_ratio: float = DEFAULT_LIMITS.max_compression_ratio,
        ahead: int = _AHEAD,
    ):
        self._max_bytes, self._max_ratio = max_bytes, max_ratio
        self._archives: dict[str, Archive] = {}
        self._places: dict[str, str] = {}  # the archive that stands for a folder
        self._plain: set[str] = set()  # folders that are in no archive
        self._upcoming = (address for address in upcoming if is_remote(address))
        self._under_way: dict[str, Future] = {}
        self._ahead = ahead
        self._pool = ThreadPoolExecutor(ahead)  # starts no thread before it is needed

    def __enter__(self) -> "RawFiles":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def fetch(self, address: str) -> Path | bytes:
        """The path of a file of this machine, the content of any other; never empty.

        Raises FormatError: `missing_file`, `empty_file`, and for what is fetched `too_large`,
        `bad_member`. Raises DataError for a damaged archive, StorageError where a place does not
        answer.
        """
        if is_remote(address):
            found = self._fetch_remote(address)
            size = len(found)
        else:
            found = self._fetch_local(address)
            size = found.stat().st_size if isinstance(found, Path) else len(found)
        if size == 0:
            raise FormatError("empty_file", f"{address}: empty")
        return found

    def sizes(self, addresses: Iterable[str | None]) -> list[int | None]:
        """The bytes of each file; None where there is no address or no file.

        Folders elsewhere are listed instead of asking for each of their files.
        """
        wanted = list(addresses)
        sizes = file_sizes(each and local_path(each) for each in wanted)
        elsewhere = [each for each in wanted if each and is_remote(each)]
        listed = remote_files(_common_folder(elsewhere)) if elsewhere else {}
        for row, address in enumerate(wanted):
            if address and sizes[row] is None:
                sizes[row] = listed[address] if address in listed else self._member_size(address)
        return sizes

    def _fetch_local(self, address: str) -> Path | bytes:
        path = Path(local_path(address))
        if path.is_file():
            return path
        if path.exists():
            raise FormatError("missing_file", f"{address}: not a file")
        return self._read_member(address, self._member(address))

    def _fetch_remote(self, address: str) -> bytes:
        for coming in islice(self._upcoming, self._ahead - len(self._under_way)):
            member = self._known_member(coming)
            # Archives are opened here, as threads would open one twice.
            archive = self._open(member.archive) if member else None
            task = self._pool.submit(self._read_remote, coming, member, archive)
            self._under_way[coming] = task
        task = self._under_way.pop(address, None)
        data = task.result() if task else self._read_remote(address, None, None)
        return self._read_member(address, self._member(address)) if data is None else data

    def _read_remote(
        self, address: str, member: Member | None, archive: Archive | None
    ) -> bytes | None:
        """The content; None for no file, or what may yet be in an archive."""
        if archive is not None:
            if archive.size(member.name) is None:
                return None
            return archive.read(member.name, self._max_bytes, self._max_ratio)
        size = remote_size(address)
        if size is None:
            return None
        if size > self._max_bytes:
            raise FormatError(
                "too_large", f"a file of {size} bytes; expected at most {self._max_bytes}"
            )
        return remote_read(address, 0, size) if size else b""

    def _read_member(self, address: str, member: Member | None) -> bytes:
        archive = self._open(member.archive) if member else None
        if archive is None or archive.size(member.name) is None:
            raise FormatError("missing_file", f"{address}: no such file")
        return archive.read(member.name, self._max_bytes, self._max_ratio)

    def _member_size(self, address: str) -> int | None:
        member = self._member(address)
        return self._open(member.archive).size(member.name) if member else None

    def _known_member(self, address: str) -> Member | None:
        """The member, if the archive has been found already."""
        for place, archive in self._places.items():
            if address.startswith(f"{place}/"):
                return Member(archive, address[len(place) + 1 :])
        return None

    def _member(self, address: str) -> Member | None:
        folder = parent(address)
        if folder not in self._plain and self._known_member(address) is None:
            found = (find_remote_member if is_remote(folder) else find_local_member)(folder)
            if found is None:
                self._plain.add(folder)
            else:
                place = folder.removesuffix(found.name).removesuffix("/")
                self._places[place] = found.archive
        return self._known_member(address)

    def _open(self, archive: str) -> Archive:
        if archive not in self._archives:
            self._archives[archive] = Archive(archive)
        return self._archives[archive]


@contextmanager
def local_copy(address: str) -> Iterator[Path]:
    """The path of a file or folder of this machine; of anything else a copy, for the block.

    Raises DataError where there is no such file, StorageError; what the block raises speaks of
    the address.
    """
    path = Path(local_path(address))
    if not is_remote(address) and (path.exists() or find_local_member(address) is None):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="clamp3-") as folder:
        copy = Path(folder, address.rpartition("/")[2])
        _copy(address, copy)
        with speaking_of(address, copy):
            yield copy


@contextmanager
def speaking_of(address: str, copy: Path) -> Iterator[None]:
    """What the block says is wrong with a copy is said of the address."""
    try:
        yield
    except FormatError as error:
        raise FormatError(error.kind, str(error).replace(str(copy), address)) from error
    except (ConfigError, DataError) as error:
        raise type(error)(str(error).replace(str(copy), address)) from error


def write_copy(copy: Path, data: bytes) -> None:
    """Write a copy. Raises StorageError that says where copies go."""
    try:
        copy.write_bytes(data)
    except OSError as error:
        raise no_room(copy, error) from error


@contextmanager
def local_copies(addresses: Iterable[str]) -> Iterator[list[Path]]:
    """`local_copy` of several."""
    with ExitStack() as stack:
        yield [stack.enter_context(local_copy(address)) for address in addresses]


def _copy(address: str, copy: Path) -> None:
    if is_remote(address) and is_remote_file(address):
        ask(address, lambda system, path: system.get_file(path, str(copy)))
        return
    try:
        with RawFiles(max_bytes=_MAX_LIST_BYTES) as files:
            write_copy(copy, files.fetch(address))
    except FormatError as error:
        raise DataError(str(error)) from error


def find_remote_member(address: str) -> Member | None:
    """`find_member` elsewhere. Raises StorageError."""
    return find_member(address, is_remote_file, is_remote_folder)


def _common_folder(addresses: Sequence[str]) -> str:
    """The deepest folder that all addresses lie in."""
    kind = addresses[0].partition("://")[0]
    folders = [parent(address.partition("://")[2]) for address in (min(addresses), max(addresses))]
    return f"{kind}://{os.path.commonpath(folders)}"
