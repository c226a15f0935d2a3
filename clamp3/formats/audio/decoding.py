"""From a sound file or its bytes to one mono waveform at the rate the front ends expect."""

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio.resampling import resample_blocks
from clamp3.formats.audio.windows import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from soundfile import SoundFile

BLOCK_VALUES = 2**20  # values decoded at once, over all channels
MAX_SECONDS = 6 * 3600  # 2 GB of samples; compressed silence would unpack without end
RATES_HZ = (2_000, 768_000)  # outside, the header is damaged
CONTAINERS = {  # first bytes that people mistake for what libsndfile reads
    (4, b"ftyp"): "an MP4 container (m4a, AAC or ALAC)",
    (0, b"\x1a\x45\xdf\xa3"): "a Matroska or WebM container",
    (0, b"\x30\x26\xb2\x75"): "a Windows Media container",
    (0, b"\xff\xf1"): "bare AAC",
    (0, b"\xff\xf9"): "bare AAC",
    (0, b"MThd"): "a MIDI file",
    (0, b"<"): "a web page or another markup document",
}
READABLE = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")

_log = logging.getLogger(__name__)


def read_audio(
    source: Path | bytes, sample_rate_hz: int = SAMPLE_RATE_HZ, resampler: str = "sinc"
) -> np.ndarray:
    """The recording as float32 [S], full scale ±1: the mean of its channels, then resampled.

    WAV, FLAC, Ogg (Vorbis, Opus), MP3 and what else libsndfile reads, told by content and not
    by name. Decoded block by block: in memory stands the result, not the original.
    Raises FormatError: unreadable_file, empty_file, unsupported_audio, corrupt_audio,
    bad_sample_rate, not_finite, no_samples, too_long.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py.
    Differs: reads more than .wav and .mp3, because nothing downstream depends on the container.
    """
    with _open(source) as file:
        if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
            raise FormatError("bad_sample_rate", f"a sample rate of {file.samplerate} Hz")
        blocks = resample_blocks(_mono(file), file.samplerate, sample_rate_hz, resampler)
        return np.concatenate([np.empty(0, np.float32), *blocks])


def _open(source: Path | bytes) -> "SoundFile":
    import soundfile

    head = _head(source)
    try:
        return soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: soundfile wants to be told the layout of a file that is called .raw.
        if head.startswith(READABLE):
            raise FormatError("corrupt_audio", f"damaged from the start: {error}") from error
        raise FormatError("unsupported_audio", _not_audio(head, error)) from error


def _head(source: Path | bytes) -> bytes:
    """The first bytes, which also tell whether there is anything to read."""
    try:
        if isinstance(source, bytes):
            head = source[:16]
        else:
            with open(source, "rb") as file:
                head = file.read(16)
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error}") from error
    if not head:
        raise FormatError("empty_file", "the file is empty")
    return head


def _not_audio(head: bytes, error: Exception) -> str:
    found = [name for (at, magic), name in CONTAINERS.items() if head[at:].startswith(magic)]
    return (
        f"not a WAV, FLAC, Ogg or MP3 file but {found[0] if found else 'something else'}"
        f" ({error}); if a player plays it, convert it first: ffmpeg -i FILE FILE.wav"
    )


def _mono(file: "SoundFile") -> Iterator[np.ndarray]:
    """The channel means of an open file, block after block."""
    import soundfile

    size = max(1, BLOCK_VALUES // file.channels)
    total = 0
    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            at = f"{total / file.samplerate:.1f} s"
            raise FormatError("corrupt_audio", f"damaged after {at}: {error}") from error
        if not len(block):
            break
        mono = sum(block.T[1:], block[:, 0]) / np.float32(file.channels)
        total += len(mono)
        _check(mono, total, file.samplerate)
        yield mono
    if not total:
        raise FormatError("no_samples", "the file holds no samples")
    if total < 0.99 * file.frames:
        heard, expected = total / file.samplerate, file.frames / file.samplerate
        _log.warning("%s: damaged, holds %.1f of %.1f s", file.name, heard, expected)


def _check(mono: np.ndarray, total: int, rate: int) -> None:
    if not np.isfinite(mono).all():
        at = total - len(mono) + int(np.argmin(np.isfinite(mono)))
        raise FormatError("not_finite", f"NaN or infinity at {at / rate:.3f} s")
    if total > MAX_SECONDS * rate:
        raise FormatError("too_long", f"longer than {MAX_SECONDS // 3600} hours")
