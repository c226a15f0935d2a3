"""Folders by address: what lies in them, and copies of them for those who need files."""

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from clamp3.data.raw_files.addresses import (
    ARCHIVES,
    Member,
    below,
    find_local_member,
    is_remote,
    local_path,
)
from clamp3.data.raw_files.archives import Archive
from clamp3.data.raw_files.places import remote_files
from clamp3.data.raw_files.reading import RawFiles, find_remote_member, speaking_of, write_copy
from clamp3.errors import ConfigError, FormatError
from clamp3.formats.modality import FORMAT_BY_SUFFIX
from clamp3.logs import progress

log = logging.getLogger(__name__)
_MAX_BYTES = 1 << 33  # of a file


def names_below(folder: str | Path, *, hidden: bool = False) -> list[str]:
    """The files below a folder, in an archive or elsewhere, as `a/b.mid` from there, sorted.

    Links to folders are passed over and, unless `hidden`, hidden files and folders; nothing where
    there is no such folder. Raises DataError for a damaged archive, StorageError.
    """
    address = str(folder)
    member = _member(address)
    if member is not None:
        names = Archive(member.archive).names_below(member.name)
    elif is_remote(address):
        top = len(address.rstrip("/")) + 1
        names = [name[top:] for name in remote_files(address)]
    else:
        names = _walked(Path(local_path(address)))
    return sorted(name for name in names if name and (hidden or not _is_hidden(name)))


@contextmanager
def local_sources(given: Sequence[str], *, everything: bool = False) -> Iterator[list[Path]]:
    """Files and folders that a person named, as paths of this machine, for the block.

    A path stays what it is. What lies in archives and elsewhere is copied, some files at once: of a
    folder those that look like music, text or features, or `everything`. A name that stands for an
    archive means all that is in it. The copies lie to each other as the originals do, so that they
    have the same ids.

    Raises ConfigError for paths beside addresses, and where nothing is there; what the block raises
    speaks of the addresses.
    """
    far = [address for address in given if is_remote(address) or _member(address)]
    if not far:
        yield [Path(local_path(address)) for address in given]
        return
    if len(far) < len(given):
        raise ConfigError(
            f"{far[0]} lies in an archive or elsewhere, and other sources do not; the paths of "
            "both have nothing in common to be called by: name them in two commands"
        )
    with tempfile.TemporaryDirectory(prefix="clamp3-") as place:
        copies = [_copied(address, Path(place), everything) for address in given]
        with ExitStack() as said:
            for address, copy in zip(given, copies, strict=True):
                said.enter_context(speaking_of(address, copy))
            yield copies


def _copied(address: str, place: Path, everything: bool) -> Path:
    """A copy of a file, or of the files below a folder, under the names of their address."""
    names = names_below(address, hidden=everything)
    # No name leads out of the temporary folder.
    inside = address.partition("://")[2] if is_remote(address) else local_path(address)
    top = Path(f"{place}{os.path.abspath(f'/{inside}' if is_remote(address) else inside)}")
    files = {address: top}
    if names:
        wanted = names if everything else _readable(names, address)
        files = {below(address, name): top / name for name in wanted}
        top.mkdir(parents=True, exist_ok=True)
    with RawFiles(files, max_bytes=_MAX_BYTES) as source:
        for each, copy in progress(files.items(), "fetching", len(files)):
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_copy(copy, source.fetch(each))
            except FormatError as error:
                _passed_over(each, copy, error, named=not names)
    return top


def _readable(names: Sequence[str], address: str) -> list[str]:
    """Those that something reads; the suffixes of the others are counted in the log."""
    suffixes = [PurePosixPath(name).suffix.lower() for name in names]
    passed = Counter(s or "without suffix" for s in suffixes if s not in FORMAT_BY_SUFFIX)
    if passed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
        log.info("%s: passed over, because nothing reads such files: %s", address, kinds)
    known = zip(names, suffixes, strict=True)
    return [name for name, suffix in known if suffix in FORMAT_BY_SUFFIX]


def _passed_over(address: str, copy: Path, error: FormatError, *, named: bool) -> None:
    """An empty file stays one, to be rejected like any other."""
    if error.kind == "empty_file":
        copy.touch()
    elif named:
        raise ConfigError(str(error)) from error
    else:
        log.warning("%s: passed over (%s)", address, error)


def _member(address: str) -> Member | None:
    if is_remote(address):
        return find_remote_member(address)
    path = local_path(address)
    is_plain = os.path.exists(path) and not path.lower().endswith(ARCHIVES)
    return None if is_plain else find_local_member(path)


def _walked(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder)
        yield from ((inside / name).as_posix() for name in names)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.startswith("__MACOSX/")
