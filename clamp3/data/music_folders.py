"""Music files of a folder and all folders below it, and those of them that go by a name."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from clamp3.data.raw_files.addresses import below, local_path
from clamp3.data.raw_files.folders import names_below
from clamp3.data.sources import guess_file
from clamp3.errors import DataError, FormatError
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat


def music_files(folder: Path | str, formats: Iterable[FileFormat]) -> list[str]:
    """The files of these formats below `folder`, by suffix, as `a/b.mid` from there, sorted.

    The folder may lie in an archive or elsewhere. Hidden files and folders are passed over, and so
    are links to folders.
    Raises DataError if there is no such folder, or a file in its place; StorageError.
    """
    wanted = frozenset(formats)
    names, path = names_below(folder), Path(local_path(str(folder)))
    if not names and path.is_file():
        raise DataError(
            f"{folder}: a file, which looks like {guess_file(path)}; expected a folder with "
            "music files"
        )
    if not names and not path.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with music files")
    return [n for n in names if FORMAT_BY_SUFFIX.get(os.path.splitext(n)[1].lower()) in wanted]


class NamedFiles:
    """The music files below a folder, found by a key made of their names."""

    def __init__(
        self,
        folder: Path | str,
        formats: Iterable[FileFormat],
        key_of: Callable[[str], str | None],
    ):
        self._folder = str(folder)
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in music_files(folder, formats):
            key = key_of(path.rsplit("/", 1)[-1])
            if key is not None:
                self._files[key].append(path)

    def all(self, key: str) -> list[str]:
        """The addresses of all files of this key, sorted."""
        return [below(self._folder, path) for path in self._files.get(key, [])]

    def find(self, key: str, preferred: str | None = None) -> str:
        """The address of the one file of this key; of several the one that ends with `preferred`.

        Raises FormatError where there is none (`missing_files`) or more (`ambiguous_files`).
        """
        paths = self._files.get(key, [])
        exact = [path for path in paths if preferred and f"/{path}".endswith(f"/{preferred}")]
        if len(paths) > 1 and len(exact) == 1:
            paths = exact
        if not paths:
            raise FormatError("missing_files", f"no file of {key} below {self._folder}")
        if len(paths) > 1:
            named = ", ".join(paths[:3])
            raise FormatError("ambiguous_files", f"{len(paths)} files may be {key}: {named}")
        return below(self._folder, paths[0])
