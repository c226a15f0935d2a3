"""Raw files of a user: found in folders, told apart by content, read as pieces.

Nothing here needs a model; one folder may hold scores, MIDI, texts, features and sound.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from traceback import format_exception_only
from typing import TypeVar

import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.formats.abc import deinterleave_abc, interleave_abc
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat, detect_format
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.retrieval.features import FrontEnd

log = logging.getLogger(__name__)
Piece = TypeVar("Piece")

MODALITY_OF = {
    FileFormat.TEXT: "text",
    FileFormat.ABC: "abc",
    FileFormat.MUSICXML: "abc",
    FileFormat.MIDI: "mtf",
    FileFormat.MTF: "mtf",
    FileFormat.NUMPY: "audio",
    FileFormat.AUDIO: "audio",
}


@dataclass(frozen=True)
class Source:
    """A file, its id (its path from the folder that was given) and what it holds."""

    id: str
    path: Path
    file_format: FileFormat

    @property
    def modality(self) -> str:
        """text, abc, mtf or audio."""
        return MODALITY_OF[self.file_format]

    @property
    def is_sound(self) -> bool:
        """Whether a front end is needed to read it."""
        return self.file_format is FileFormat.AUDIO


def find_sources(given: Sequence[Path]) -> tuple[list[Source], list[tuple[str, FormatError]]]:
    """The files to read, sorted by id, and those that were named but hold nothing to read.

    Folders are searched through; files in them whose suffix (in any case) is of no known format,
    hidden files and images are passed over. A file that was named itself is told by its content.
    The id is the path from the given folder; for several arguments from the folder they share.

    Raises ConfigError for an argument that does not exist.
    """
    base = _shared_folder(given)
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


def read_piece(source: Source, front_end: FrontEnd | None = None) -> str | np.ndarray:
    """The piece as a model reads it: text, interleaved ABC, MTF, or features [F, E].

    `front_end`: what sound files are described by.

    Raises FormatError where the file cannot be read or converted.
    """
    if source.file_format is FileFormat.NUMPY:
        return _read_features(source.path)
    if source.file_format is FileFormat.AUDIO:
        from clamp3.formats.audio import read_audio

        if front_end is None:
            raise FormatError("no_front_end", "a sound file, and no front end to describe it")
        return front_end.features(read_audio(source.path))
    return {
        FileFormat.TEXT: _read_text,
        FileFormat.MTF: _read_text,
        FileFormat.ABC: lambda path: interleaved(_read_text(path)),
        FileFormat.MUSICXML: lambda path: interleave_abc(musicxml_to_abc(path)),
        FileFormat.MIDI: midi_to_mtf,
    }[source.file_format](source.path)


def convert_piece(source: Source, target: str) -> str:
    """The file as standard ABC (`abc`), interleaved ABC (`interleaved`) or MTF (`mtf`).

    Raises FormatError where it cannot be read, or holds what has no such form.
    """
    if not _has_form(source, target):
        kind = source.file_format.value
        raise FormatError("no_conversion", f"a file of format {kind} has no form {target}")
    if target == "abc":
        if source.file_format is FileFormat.MUSICXML:
            return musicxml_to_abc(source.path)
        text = _read_text(source.path)
        return deinterleave_abc(text) if _is_interleaved(text) else text
    return str(read_piece(source))


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


def _has_form(source: Source, target: str) -> bool:
    return source.modality == ("mtf" if target == "mtf" else "abc")


def target_names(sources: Sequence[Source], target: str) -> list[tuple[Source, str]]:
    """For each source the name of the file it is converted to: its id with another suffix.

    Where two that can be converted would get the same name, the suffix is added to the old one.
    """
    suffix = ".mtf" if target == "mtf" else ".abc"
    names = [str(PurePosixPath(source.id).with_suffix(suffix)) for source in sources]
    taken = Counter(
        name.casefold()  # not every file system tells case
        for source, name in zip(sources, names, strict=True)
        if _has_form(source, target)
    )
    return [
        (source, name if taken[name.casefold()] < 2 else source.id + suffix)
        for source, name in zip(sources, names, strict=True)
    ]


def interleaved(text: str) -> str:
    """Interleaved ABC of either kind of ABC; what is interleaved already stays to the letter."""
    return text if _is_interleaved(text) else interleave_abc(text)


def _is_interleaved(text: str) -> bool:
    """Whether bars stand in rows `[V:1]…|[V:2]…|` under a header without the `X:` of a tune."""
    lines = text.splitlines()
    rows = any(line.startswith("[V:") for line in lines)
    return rows and not any(line.startswith("X:") for line in lines)


def _shared_folder(given: Sequence[Path]) -> Path:
    for argument in given:
        if not Path(argument).exists():
            raise ConfigError(f"{argument}: no such file or folder")
    folders = [p if Path(p).is_dir() else Path(p).parent for p in given]
    return Path(os.path.commonpath([Path(folder).resolve() for folder in folders]))


def _files(argument: Path, passed: Counter[str]) -> Iterator[Path]:
    """The argument itself, or the files below it that look as if they could be read.

    The suffixes of the others are counted in `passed`.
    """
    if not argument.is_dir():
        yield argument
        return
    for folder, subfolders, names in os.walk(argument):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            suffix = Path(name).suffix.lower()
            if FORMAT_BY_SUFFIX.get(suffix) in MODALITY_OF:
                yield Path(folder) / name
            else:
                passed[suffix or "without suffix"] += 1


def _name(path: Path, base: Path) -> str:
    """The path from `base`; bytes of its name that are no UTF-8 become a replacement sign."""
    name = (path.parent.resolve() / path.name).relative_to(base).as_posix()
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _format_of(path: Path) -> FileFormat:
    file_format = detect_format(path)
    if file_format not in MODALITY_OF:
        raise FormatError("no_tower", f"a file of format {file_format.value}: no tower reads it")
    return file_format


def _read_text(path: Path) -> str:
    """Line ends become `\\n`, as in the files that models were trained on."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            "not_utf8", f"byte {error.start} is not UTF-8; save it as UTF-8"
        ) from error
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error.strerror}") from error
    if not text.strip():
        raise FormatError("empty_file", "the file holds no text")
    return text


def _read_features(path: Path) -> np.ndarray:
    try:
        features = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError("unreadable_file", f"not a readable .npy file ({error})") from error
    if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiu":
        raise FormatError("bad_features", "expected one array of numbers")
    return features
