"""What a file holds: its format and the modality that decides which tower reads it."""

import io
import re
import zipfile
from enum import Enum
from pathlib import Path, PurePath

from clamp3.errors import FormatError

_HEAD_BYTES = 65_536


class Modality(Enum):
    """Kinds of input; `features` are frozen frames of a recording, an image needs a caption."""

    TEXT = "text"
    SCORE = "score"
    PERFORMANCE = "performance"
    RECORDING = "recording"
    FEATURES = "features"
    IMAGE = "image"


class FileFormat(Enum):
    """Kinds of files, each of one modality."""

    TEXT = "text"
    MUSICXML = "musicxml"
    ABC = "abc"
    MIDI = "midi"
    MTF = "mtf"
    AUDIO = "audio"
    NUMPY = "numpy"
    IMAGE = "image"

    @property
    def modality(self) -> Modality:
        return _MODALITIES[self]


_MODALITIES = {
    FileFormat.TEXT: Modality.TEXT,
    FileFormat.MUSICXML: Modality.SCORE,
    FileFormat.ABC: Modality.SCORE,
    FileFormat.MIDI: Modality.PERFORMANCE,
    FileFormat.MTF: Modality.PERFORMANCE,
    FileFormat.AUDIO: Modality.RECORDING,
    FileFormat.NUMPY: Modality.FEATURES,
    FileFormat.IMAGE: Modality.IMAGE,
}
_SUFFIXES = {
    FileFormat.TEXT: ".txt",
    FileFormat.MUSICXML: ".mxl .musicxml .xml",
    FileFormat.ABC: ".abc",
    FileFormat.MIDI: ".mid .midi .kar .rmi",
    FileFormat.MTF: ".mtf",
    FileFormat.AUDIO: ".wav .flac .mp3 .ogg .oga .opus .aif .aiff .m4a",
    FileFormat.NUMPY: ".npy",
    FileFormat.IMAGE: ".png .jpg .jpeg .gif .webp .bmp .tif .tiff",
}
FORMAT_BY_SUFFIX = {
    suffix: file_format for file_format, names in _SUFFIXES.items() for suffix in names.split()
}
# First bytes that leave no doubt, whatever the file is called.
_SIGNATURES = (
    (re.compile(rb"MThd\x00|RIFF....RMID", re.DOTALL), FileFormat.MIDI),
    (re.compile(rb"(?:RIFF|RF64)....WAVE|FORM....AIF[FC]", re.DOTALL), FileFormat.AUDIO),
    (re.compile(rb"fLaC\x00|OggS\x00|ID3[\x02-\x04]"), FileFormat.AUDIO),
    # A frame of MPEG layer III with a possible bit rate and sampling rate.
    (re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xeb]", re.DOTALL), FileFormat.AUDIO),
    (re.compile(rb"....ftypM4[AB]", re.DOTALL), FileFormat.AUDIO),
    (re.compile(rb"\x93NUMPY"), FileFormat.NUMPY),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", re.DOTALL), FileFormat.IMAGE),
)
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8"))
_MUSICXML = re.compile(r"<(?:!DOCTYPE\s+)?score-(?:partwise|timewise)\b")
_ABC_KEY = re.compile(r"^K:", re.MULTILINE)
_ABC_OTHER = re.compile(r"^(?:[XMLV]:|\[V:|%abc)", re.MULTILINE)


def detect_modality(source: Path | bytes, name: str = "") -> Modality:
    """The modality of a file, see `detect_format`."""
    return detect_format(source, name).modality


def detect_format(source: Path | bytes, name: str = "") -> FileFormat:
    """The format of a file, given as its path or as its bytes and, if known, its name.

    Unmistakable first bytes decide, so a wrongly named MIDI file is a MIDI file; next the name's
    suffix in any case, so ABC in a file `.txt` is text; then what the text looks like.

    Raises FormatError: `unreadable_file`, `empty_file` (and no telling name), `unknown_format`.
    """
    head = source[:_HEAD_BYTES] if isinstance(source, bytes) else _read_head(source)
    name = name or ("" if isinstance(source, bytes) else str(source))
    for signature, file_format in _SIGNATURES:
        if signature.match(head):
            return file_format
    by_name = FORMAT_BY_SUFFIX.get(PurePath(name).suffix.lower())
    if by_name:
        return by_name
    if not head:
        raise FormatError("empty_file", f"{name or 'the input'} is empty")
    if head.startswith(b"PK\x03\x04"):
        found = FileFormat.MUSICXML if _is_mxl(source, head) else None
    else:
        found = _format_of_text(_decoded(head))
    if not found:
        raise FormatError(
            "unknown_format",
            f"{name or 'the input'} starts with {head[:12]!r}; expected text, a score, MIDI, MTF, "
            "sound or .npy features",
        )
    return found


def _read_head(path: Path) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot read {path}: {error.strerror}") from error


def _is_mxl(source: Path | bytes, head: bytes) -> bool:
    """Whether a zip archive is compressed MusicXML; electronic books look alike."""
    if b"epub+zip" in head:
        return False
    try:
        with zipfile.ZipFile(
            io.BytesIO(source) if isinstance(source, bytes) else source
        ) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return "META-INF/container.xml" in names or any(name.endswith(".musicxml") for name in names)


def _decoded(head: bytes) -> str:
    """The beginning as text, empty if it is none. A character cut off at the end is left out."""
    encoding = next(encoding for mark, encoding in _ENCODINGS if head.startswith(mark))
    text = head.decode(encoding, errors="replace").rstrip("\ufffd").removeprefix("\ufeff")
    return "" if "\0" in text or "\ufffd" in text else text


def _format_of_text(text: str) -> FileFormat | None:
    if not text:
        return None
    if text.startswith("ticks_per_beat "):
        return FileFormat.MTF
    if text.lstrip().startswith("<"):
        return FileFormat.MUSICXML if _MUSICXML.search(text) else FileFormat.TEXT
    if _ABC_KEY.search(text) and _ABC_OTHER.search(text):
        return FileFormat.ABC
    return FileFormat.TEXT
