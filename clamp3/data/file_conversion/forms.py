"""Which form can be made of which, and how: from the bytes of a file to the bytes of another."""

import hashlib
from functools import cache
from pathlib import Path, PurePath
from typing import NamedTuple

import clamp3
from clamp3 import formats
from clamp3.errors import FormatError
from clamp3.formats.abc import deinterleave_abc, interleave_abc
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat, detect_format
from clamp3.formats.mtf import midi_to_mtf, mtf_to_midi, read_midi
from clamp3.formats.musicxml import musicxml_to_abc

_SCORES = (FileFormat.MUSICXML, FileFormat.ABC)
_PERFORMANCES = (FileFormat.MIDI, FileFormat.MTF)
MUSIC = (*_SCORES, *_PERFORMANCES, FileFormat.AUDIO)
# Words about music quote ABC; in a file of another name they are no tune.
_MAY_HOLD_ABC = ("", ".txt", *(name for name, kind in FORMAT_BY_SUFFIX.items() if kind in _SCORES))


class Target(NamedTuple):
    """A form that can be written: its suffix, what it is made of, and by which packages."""

    suffix: str
    sources: tuple[FileFormat, ...]
    packages: tuple[str, ...]


TARGETS = {
    "abc": Target(".abc", _SCORES, ("abc", "musicxml")),
    "interleaved": Target(".abc", _SCORES, ("abc", "musicxml")),
    "mtf": Target(".mtf", _PERFORMANCES, ("mtf",)),
    "midi": Target(".mid", _PERFORMANCES, ("mtf",)),
}


def form_of(data: bytes, name: str, *, trust_text: bool = False) -> FileFormat:
    """The format of a file's bytes: what its content shows beyond doubt, else what its name says.

    ABC under a name of something else (`README.md`) counts as text unless `trust_text`.

    Raises FormatError as `detect_format` does.
    """
    may_be_abc = trust_text or PurePath(name).suffix.lower() in _MAY_HOLD_ABC
    by_content = _by_content(data)
    if by_content in (FileFormat.MUSICXML, FileFormat.MTF):
        return by_content
    if by_content is FileFormat.ABC and may_be_abc:
        return by_content
    found = detect_format(data, name)
    return FileFormat.TEXT if found is FileFormat.ABC and not may_be_abc else found


def _by_content(data: bytes) -> FileFormat | None:
    try:
        return detect_format(data)
    except FormatError:
        return None


def convert_bytes(
    data: bytes, file_format: FileFormat, target: str, *, keep_metadata: bool = False
) -> bytes:
    """The file in the form `target`, a key of `TARGETS`: UTF-8 text with `\\n`, or MIDI.

    A file that has the form already comes back checked: ABC but for line ends and byte order mark
    as it is, MTF with one event a line, MIDI to the letter unless it needed mending. Text events
    stay in MTF only if `keep_metadata`; in MIDI always. A carriage return inside a name of standard
    ABC becomes a blank.

    Raises FormatError: `no_conversion` (no way from this format), `not_utf8`, `empty_piece`, and
    what the converters raise.
    """
    if file_format not in TARGETS[target].sources:
        raise FormatError(
            "no_conversion", f"a file of format {file_format.value} cannot become {target}"
        )
    if target == "midi":
        return _midi(data, file_format)
    if target == "mtf":
        midi = data if file_format is FileFormat.MIDI else mtf_to_midi(_decoded(data))
        text = midi_to_mtf(midi, keep_metadata=keep_metadata)
    else:
        text = (_abc if target == "abc" else _interleaved)(data, file_format)
    if not text.strip():
        raise FormatError("empty_piece", "nothing is left of it after conversion")
    return text.encode("utf-8")


def _abc(data: bytes, file_format: FileFormat) -> str:
    if file_format is FileFormat.MUSICXML:
        return musicxml_to_abc(data).replace("\r\n", " ").replace("\r", " ")
    text = _decoded(data)
    if is_interleaved(text):
        return deinterleave_abc(text)
    if not any(line.startswith("K:") for line in text.splitlines()):
        raise FormatError("no_key", "no line starts with K:, which every tune in ABC has")
    return _ended(text)


def _interleaved(data: bytes, file_format: FileFormat) -> str:
    if file_format is FileFormat.MUSICXML:
        return interleave_abc(musicxml_to_abc(data))
    text = _decoded(data)
    rows = interleave_abc(text)
    return _ended(text) if is_interleaved(text) else rows


def _midi(data: bytes, file_format: FileFormat) -> bytes:
    if file_format is FileFormat.MTF:
        return mtf_to_midi(_decoded(data))
    read = read_midi(data, keep_metadata=True)
    return mtf_to_midi(read.mtf) if read.warnings else data


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def is_interleaved(text: str) -> bool:
    """Whether bars stand in rows `[V:1]…|[V:2]…|` under a header without the `X:` of a tune."""
    lines = text.splitlines()
    rows = any(line.startswith("[V:") for line in lines)
    return rows and not any(line.startswith("X:") for line in lines)


def _decoded(data: bytes) -> str:
    """The text with `\\n` at line ends and without byte order mark."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(
            "not_utf8", f"byte {error.start} is not UTF-8; save it as UTF-8"
        ) from error
    if not text.strip():
        raise FormatError("empty_file", "the file holds no text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


@cache
def converter_version(target: str, keep_metadata: bool) -> str:
    """A word that changes with the code that makes `target`, and with the options."""
    folder = Path(formats.__file__).parent
    code = hashlib.sha256(Path(__file__).read_bytes())
    for file in [*sorted(folder.glob("*.py")), *_modules(folder, TARGETS[target].packages)]:
        code.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    options = "+metadata" if keep_metadata else ""
    return f"{clamp3.__version__}:{code.hexdigest()[:16]}:{target}{options}"


def _modules(folder: Path, packages: tuple[str, ...]) -> list[Path]:
    return sorted(file for package in packages for file in (folder / package).rglob("*.py"))
