"""Pieces that are given as values instead of files: texts, bytes, arrays."""

from pathlib import Path

import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.audio import Recording
from clamp3.formats.images import Picture
from clamp3.formats.modality import FORMAT_BY_SUFFIX, FileFormat, detect_format
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.retrieval.embedding.reading import Piece
from clamp3.retrieval.embedding.sources import MODALITY_OF, Source, read_piece, score_text

FORMATS = {
    "text": (FileFormat.TEXT,),
    "score": (FileFormat.MUSICXML, FileFormat.ABC),
    "performance": (FileFormat.MIDI, FileFormat.MTF),
    "recording": (FileFormat.AUDIO,),
    "features": (FileFormat.NUMPY,),
    "image": (FileFormat.IMAGE,),
}


def given_piece(
    kind: str, value: object, sample_rate_hz: int | None = None, *, as_is: bool = False
) -> tuple[str, Piece]:
    """Its modality (text, abc, mtf, audio or image) and the piece as a Reader makes it.

    `kind`: text, score, performance, recording, features or image; `as_is`: see `score_text`.

    Raises FormatError where it cannot be read, ConfigError for a value of the wrong type.
    """
    modality = MODALITY_OF[FORMATS[kind][0]]
    if isinstance(value, Path):
        value = _of_file(kind, value, as_is)
    elif isinstance(value, bytes | bytearray):
        value = _of_bytes(kind, bytes(value), as_is)
    elif isinstance(value, str):
        value = _of_text(kind, value, as_is)
    elif kind == "recording" and isinstance(value, np.ndarray):
        value = _recording(value, sample_rate_hz)
    elif kind == "features":
        value = _features(value)
    else:
        raise ConfigError(f"{kind}: a {type(value).__name__}; expected a text, bytes or a Path")
    return modality, value


def _of_file(kind: str, path: Path, as_is: bool) -> Piece:
    file_format = detect_format(path)
    _check(kind, file_format, str(path))
    if file_format is FileFormat.AUDIO:
        return Recording.read(path)
    return read_piece(Source(path.name, path, file_format), as_is=as_is)


def _of_bytes(kind: str, content: bytes, as_is: bool) -> Piece:
    if kind == "text":
        return _decoded(content)
    file_format = detect_format(content)
    _check(kind, file_format, "the bytes")
    if file_format is FileFormat.MUSICXML:
        return interleave_abc(musicxml_to_abc(content))
    if file_format is FileFormat.MIDI:
        return midi_to_mtf(content)
    if file_format is FileFormat.AUDIO:
        return Recording.read(content)
    if file_format is FileFormat.IMAGE:
        return Picture.read(content)
    text = _decoded(content)
    return score_text(text, as_is=as_is) if kind == "score" else text


def _of_text(kind: str, text: str, as_is: bool) -> str:
    suffix = Path(text[-20:]).suffix.lower()
    if kind != "text" and "\n" not in text and suffix in FORMAT_BY_SUFFIX:
        raise ConfigError(f"{kind}: {text!r} looks like a file name; give it as a pathlib.Path")
    if kind not in ("text", "score", "performance"):
        raise ConfigError(f"{kind}: a text; expected an array, bytes or a Path")
    return score_text(text, as_is=as_is) if kind == "score" else text


def _check(kind: str, file_format: FileFormat, where: str) -> None:
    """Text without telling signs may be ABC that only its reader knows."""
    known = FORMATS[kind]
    plain = file_format is FileFormat.TEXT and kind in ("score", "performance")
    if file_format not in known and not plain:
        expected = " or ".join(one.value for one in known)
        raise FormatError(
            "wrong_format", f"{kind}: {where} hold {file_format.value}, expected {expected}"
        )


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise FormatError("not_utf8", f"byte {error.start} is not UTF-8") from error


def _features(value: object) -> np.ndarray:
    """Any floats; their shape is the model's to judge, but one axis would be a waveform."""
    values = np.asarray(value)
    if values.dtype.kind not in "fiu" or values.ndim < 2:
        raise FormatError(
            "bad_features",
            f"features of {values.dtype} and shape {list(values.shape)}; expected numbers [frames, "
            "width] or [1, frames, width]",
        )
    return values


def _recording(values: np.ndarray, sample_rate_hz: int | None) -> Recording:
    """A waveform [S] or [channels, S] as the mean of its channels."""
    if sample_rate_hz is None:
        raise ConfigError("recording: a waveform needs its sample_rate_hz")
    if values.dtype.kind != "f" or values.ndim not in (1, 2) or not values.size:
        raise FormatError(
            "bad_waveform",
            f"a waveform of {values.dtype} and shape {list(values.shape)}; expected floats of full "
            "scale 1, [samples] or [channels, samples]",
        )
    return Recording.of(mean_of_channels(values), sample_rate_hz)


def mean_of_channels(values: np.ndarray) -> np.ndarray:
    """[S] of a waveform [S] or [channels, S]. Raises FormatError where it lies the other way."""
    if values.ndim == 2 and len(values) > values.shape[1]:
        raise FormatError(
            "bad_waveform",
            f"a waveform of shape {list(values.shape)}: expected [channels, samples], which is the "
            "transpose of what soundfile reads",
        )
    return values if values.ndim < 2 else values.mean(axis=0)
