"""Music files of a folder and all folders below it, and those of them that go by a name."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from clamp3.data.sources import guess_file
from clamp3.errors import DataError, FormatError
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat


def music_files(folder: Path, formats: Iterable[FileFormat]) -> list[str]:
    """The files of these formats below `folder`, by suffix, as `a/b.mid` from there, sorted.

    Hidden files and folders are passed over, and so are links to folders.
    Raises DataError if there is no such folder, or a file in its place.
    """
    folder, wanted = Path(folder), frozenset(formats)
    if folder.is_file():
        raise DataError(
            f"{folder}: a file, which looks like {guess_file(folder)}; expected a folder with "
            "music files"
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with music files")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder)
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            if FORMAT_BY_SUFFIX.get(suffix) in wanted and not name.startswith("."):
                found.append((inside / name).as_posix())
    return sorted(found)


class NamedFiles:
    """The music files below a folder, found by a key made of their names."""

    def __init__(
        self, folder: Path, formats: Iterable[FileFormat], key_of: Callable[[str], str | None]
    ):
        self._folder = Path(folder)
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in music_files(folder, formats):
            key = key_of(path.rsplit("/", 1)[-1])
            if key is not None:
                self._files[key].append(path)

    def find(self, key: str, preferred: str | None = None) -> str:
        """The path of the one file of this key; of several the one that ends with `preferred`.

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
        return str(self._folder / paths[0])
