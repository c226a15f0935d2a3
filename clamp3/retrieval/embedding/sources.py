"""Raw files of a user: found in folders, told apart by content, read as pieces.

Nothing here needs a model; one folder may hold scores, MIDI, texts, features and sound.
"""

import functools
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception_only
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.files import read_array
from clamp3.formats.abc import interleave_abc
from clamp3.formats.limits import read_bytes
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat, detect_format
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.retrieval.features.rows import FrontEnd

if TYPE_CHECKING:
    from clamp3.formats.images import Picture

log = logging.getLogger(__name__)
_TUNE = re.compile(r"^X:", re.MULTILINE)
_BAR = re.compile(r"^(?![A-Za-z]:|%).*(?:\||::)", re.MULTILINE)  # outside header, comments
Piece = TypeVar("Piece")
# More is no text of a piece, but would fill the memory: the tokens of a text take 200 times its
# bytes.
MOST_TEXT_BYTES = 8 * 2**20
MOST_SCORE_BYTES = 64 * 2**20  # ABC and MTF

MODALITY_OF = {
    FileFormat.TEXT: "text",
    FileFormat.ABC: "abc",
    FileFormat.MUSICXML: "abc",
    FileFormat.MIDI: "mtf",
    FileFormat.MTF: "mtf",
    FileFormat.NUMPY: "audio",
    FileFormat.AUDIO: "audio",
    FileFormat.IMAGE: "image",
}


@dataclass(frozen=True)
class Source:
    """A file, its id (its path from the folder that was given) and what it holds."""

    id: str
    path: Path
    file_format: FileFormat

    @property
    def modality(self) -> str:
        """text, abc, mtf, audio or image."""
        return MODALITY_OF[self.file_format]

    @property
    def is_sound(self) -> bool:
        """Whether a front end is needed to read it."""
        return self.file_format is FileFormat.AUDIO


def find_sources(given: Sequence[Path]) -> tuple[list[Source], list[tuple[str, FormatError]]]:
    """The files to read, sorted by id, and those that were named but hold nothing to read.

    Folders are searched through; files in them whose suffix (in any case) is of no known format
    and hidden files are passed over. A file that was named itself is told by its content.
    The id is the path from the given folder; for several arguments from the folder they share.

    Raises ConfigError for an argument that does not exist.
    """
    base = _shared_folder(given) if given else Path()
    found: dict[Path, Source] = {}
    refused: dict[Path, tuple[str, FormatError]] = {}
    passed: Counter[str] = Counter()
    for argument in given:
        for path in _files(Path(argument), passed):
            name = _name(path, base)
            try:
                found[path.resolve()] = Source(name, path, _format_of(path))
            except FormatError as error:
                refused[path.resolve()] = (name, error)
    if passed:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(passed.items()))
        log.info("passed over, because nothing reads such files: %s", kinds)
    return sorted(found.values(), key=lambda s: s.id), sorted(refused.values(), key=lambda r: r[0])


def read_piece(
    source: Source, front_end: FrontEnd | None = None, *, as_is: bool = False
) -> "str | np.ndarray | Picture":
    """The piece as a model reads it: text, interleaved ABC, MTF, features [F, E], or a picture.

    `front_end`: what sound files are described by. `as_is`: ABC goes to the model as it stands in
    the file, see `score_text`.

    Raises FormatError where the file cannot be read or converted.
    """
    if source.file_format is FileFormat.NUMPY:
        return _read_features(source.path)
    if source.file_format is FileFormat.AUDIO:
        from clamp3.formats.audio import Recording

        if front_end is None:
            raise FormatError("no_front_end", "a sound file, and no front end to describe it")
        return front_end.features(Recording.read(source.path))
    if source.file_format is FileFormat.IMAGE:
        from clamp3.formats.images import Picture

        return Picture.read(source.path)
    return {
        FileFormat.TEXT: functools.partial(_read_text, most=MOST_TEXT_BYTES, blank=True),
        FileFormat.MTF: _read_text,
        FileFormat.ABC: lambda path: score_text(_read_text(path), as_is=as_is),
        FileFormat.MUSICXML: lambda path: interleave_abc(musicxml_to_abc(path)),
        FileFormat.MIDI: midi_to_mtf,
    }[source.file_format](source.path)


def attempt(read: Callable[[Source], Piece], source: Source) -> Piece:
    """What `read` makes of the file; no exception but FormatError leaves.

    So one file stops no folder, whatever is wrong with it.
    """
    try:
        return read(source)
    except FormatError:
        raise
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error}") from error
    except Exception as error:
        log.exception("%s cannot be read; a fault of the program", source.path)
        raise FormatError("internal_error", format_exception_only(error)[-1].strip()) from error


def score_text(text: str, *, as_is: bool = False) -> str:
    """The text of an ABC file as a model reads it: standard ABC interleaved, all else as it is.

    Standard ABC is a tune: a line `X:` and bars. The line ends of the result are `\\n`.

    Differs: the originals take every file as it is, standard ABC too (`as_is` does so); models were
    trained on interleaved ABC alone.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    standard = _TUNE.search(text) and _BAR.search(text)
    return text if as_is or not standard else interleave_abc(text)


def _shared_folder(given: Sequence[Path]) -> Path:
    for argument in given:
        if not Path(argument).exists():
            raise ConfigError(f"{argument}: no such file or folder")
    folders = [p if Path(p).is_dir() else Path(p).parent for p in given]
    return Path(os.path.commonpath([Path(folder).resolve() for folder in folders]))


def _files(argument: Path, passed: Counter[str]) -> Iterator[Path]:
    """The argument itself, or the files below it that look as if they could be read.

    The suffixes of the others are counted in `passed`; folders that are not looked into are logged.
    """
    if not argument.is_dir():
        yield argument
        return
    for folder, subfolders, names in os.walk(argument, onerror=_log_unread):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for link in filter(os.path.islink, (os.path.join(folder, name) for name in subfolders)):
            log.warning("%s: a link to a folder is not followed; name it beside the others", link)
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix = Path(name).suffix.lower()
            if FORMAT_BY_SUFFIX.get(suffix) in MODALITY_OF:
                yield Path(folder) / name
            else:
                passed[suffix or "without suffix"] += 1


def _log_unread(error: OSError) -> None:
    log.warning("%s: nothing in it is read (%s)", error.filename, error.strerror)


def _name(path: Path, base: Path) -> str:
    """The path from `base`; bytes of its name that are no UTF-8 become a replacement sign."""
    name = (path.parent.resolve() / path.name).relative_to(base).as_posix()
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _format_of(path: Path) -> FileFormat:
    file_format = detect_format(path)
    if file_format not in MODALITY_OF:
        raise FormatError("no_tower", f"a file of format {file_format.value}: no tower reads it")
    return file_format


def _read_text(path: Path, most: int = MOST_SCORE_BYTES, blank: bool = False) -> str:
    """Line ends become `\\n`, as in the files that models were trained on.

    `most`: bytes, more is too_large; `blank`: spaces alone are a text, as for the originals.
    """
    try:
        text = read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            "not_utf8", f"byte {error.start} is not UTF-8; save it as UTF-8"
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip("\n" if blank else None):
        raise FormatError("empty_file", "the file holds no text")
    return text


def _read_features(path: Path) -> np.ndarray:
    """Features of any type of numbers, [F, E] or with axes before.

    Differs: what was saved layer by layer is read as one long sequence, as by the originals, but
    not in silence.
    """
    try:
        features = read_array(path)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError("unreadable_file", f"not a readable .npy file ({error})") from error
    if features.dtype.kind not in "fiu":
        raise FormatError("bad_features", "expected one array of numbers")
    if features.ndim < 2:
        shape = list(features.shape)
        raise FormatError("bad_features", f"an array of shape {shape}, expected [frames, width]")
    if np.prod(features.shape[:-2]) > 1:
        log.warning(
            "%s: features of shape %s are read as one sequence of all their layers; was the mean "
            "over the layers forgotten (--mean_features)?",
            path,
            list(features.shape),
        )
    return features
