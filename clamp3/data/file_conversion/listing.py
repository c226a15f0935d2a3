"""Which files there are below the given folders, each under one stable id."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from clamp3.errors import ConfigError


class Found(NamedTuple):
    """A file to look into. `named`: given itself, not met with in a folder."""

    path: str
    named: bool = False


class Refusal(NamedTuple):
    """Why a file is in none of the outputs."""

    kind: str
    reason: str


@dataclass
class Listing:
    """What was found: files to look into, and what is rejected or skipped unread, by id.

    An id is the path from the given folder, for several sources from the folder they share.
    """

    found: dict[str, Found] = field(default_factory=dict)
    rejected: dict[str, Refusal] = field(default_factory=dict)
    skipped: dict[str, Refusal] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.found.keys() | self.rejected.keys() | self.skipped.keys())


def list_files(sources: Sequence[Path], out: Path) -> Listing:
    """Every file below the sources once, ids sorted, whatever the order of the sources.

    The folder `out` is not entered. Skipped are hidden files and folders, links to folders (they
    may lead in circles or out of the source) and what is no regular file.

    Raises ConfigError for a source that does not exist, a folder that lies in `out`, and when
    there is no file at all.
    """
    roots = [_root(Path(source), out) for source in sources]
    base = os.path.commonpath([root.parent if named else root for root, named in roots])
    listing = Listing()
    for root, named in roots:
        if named:
            listing.found[os.path.relpath(str(root), base)] = Found(str(root), named=True)
        else:
            _walk(str(root), base, out, listing)
    if not len(listing):
        raise ConfigError(f"{', '.join(map(str, sources))}: no file in it")
    for group in (listing.rejected, listing.skipped):
        for name in listing.found.keys() & group.keys():
            del group[name]
    listing.found = dict(sorted(listing.found.items()))
    return listing


def _root(source: Path, out: Path) -> tuple[Path, bool]:
    """The real path of a folder and False, or the path of a file and True."""
    if not source.exists():
        raise ConfigError(f"{source}: no such file or folder")
    if not source.is_dir():
        return source.parent.resolve() / source.name, True
    folder = source.resolve()
    if out == folder or out in folder.parents:
        raise ConfigError(
            f"{source} lies in the folder to write to, {out}: what was written would be read as "
            "a source; choose another --out"
        )
    return folder, False


def _walk(root: str, base: str, out: Path, listing: Listing) -> None:
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                children = list(entries)
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror}"
            listing.rejected[os.path.relpath(folder, base)] = Refusal("unreadable_folder", reason)
            continue
        for child in children:
            refusal = _passed_over(child)
            if refusal:
                listing.skipped[os.path.relpath(child.path, base)] = refusal
            elif not child.is_dir(follow_symlinks=False):
                listing.found.setdefault(os.path.relpath(child.path, base), Found(child.path))
            elif not (out.is_dir() and os.path.samefile(child.path, out)):
                folders.append(child.path)


def _passed_over(entry: os.DirEntry) -> Refusal | None:
    if entry.name.startswith("."):
        return Refusal("hidden", "a hidden file or folder")
    try:
        if entry.is_symlink() and entry.is_dir():
            return Refusal("linked_folder", "links to folders are not followed; name it as source")
        known = entry.is_file() or entry.is_dir() or entry.is_symlink()
    except OSError:
        return None  # a link that leads nowhere fails when it is read
    return None if known else Refusal("special_file", "no regular file, but a device or pipe")
