"""From a sound file or its bytes to one mono waveform at the rate the front ends expect."""

import codecs
import io
import logging
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio.ffmpeg import FfmpegFile
from clamp3.formats.audio.resampling import resample_blocks
from clamp3.formats.audio.windows import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from soundfile import SoundFile

BLOCK_VALUES = 2**20  # values decoded at once, over all channels
MAX_SECONDS = 48 * 3600  # compressed silence would unpack without end
MAX_WHOLE_SECONDS = 6 * 3600  # 2 GB of samples
RATES_HZ = (2_000, 768_000)  # outside, the header is damaged
LOUDEST = 1e30  # full scale is 1; beyond this a header lies, and sums overflow
CONTAINERS = {  # first bytes that people mistake for what libsndfile reads
    (4, b"ftyp"): "an MP4 container (m4a, AAC or ALAC)",
    (0, b"\x1a\x45\xdf\xa3"): "a Matroska or WebM container",
    (0, b"\x30\x26\xb2\x75"): "a Windows Media container",
    (0, b"\xff\xf1"): "bare AAC",
    (0, b"\xff\xf9"): "bare AAC",
}
# What is never handed to ffmpeg: it would open the files that a playlist or a manifest names.
NO_SOUND = {
    (0, b"MThd"): "a MIDI file",
    (0, b"<"): "a web page or another markup document",
    (0, b"#EXTM3U"): "a playlist",
    (0, b"ffconcat"): "a playlist",
}
READABLE = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM")
SIZED = {b"RIFF": "little", b"FORM": "big"}  # files whose bytes 4 to 8 count what follows
HEAD_BYTES = 4096  # with the blanks that may stand before markup
STREAMED = 0x7FFF0000  # sizes from here on are those of a writer that could not know it

_log = logging.getLogger(__name__)


def read_audio(
    source: Path | bytes, sample_rate_hz: int = SAMPLE_RATE_HZ, resampler: str = "sinc"
) -> np.ndarray:
    """The recording as float32 [S], full scale ±1: the mean of its channels, then resampled.

    Everything in memory: at most MAX_WHOLE_SECONDS. Formats and faults are `decode_blocks`'s.
    """
    blocks = decode_blocks(source, sample_rate_hz, resampler, max_seconds=MAX_WHOLE_SECONDS)
    return np.concatenate([np.empty(0, np.float32), *blocks])


def decode_blocks(
    source: Path | bytes,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    resampler: str = "sinc",
    *,
    max_seconds: float | None = None,
) -> Iterator[np.ndarray]:
    """Yield `read_audio`'s samples in blocks of any length, in bounded memory.

    WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and what else libsndfile reads, told by content and
    not by name; the rest (m4a, AAC, WMA, WebM, …) by the ffmpeg program where there is one. A file
    that ends early is used as far as it goes, and that is logged. `max_seconds`: MAX_SECONDS.
    Raises FormatError: unreadable_file, empty_file, unsupported_audio, corrupt_audio,
    bad_sample_rate, not_finite, no_samples, too_long.
    Source: sanderwood/clamp3@9016d2b preprocessing/audio/extract_mert.py.
    Differs: reads more than .wav and .mp3, because nothing downstream depends on the container.
    """
    with _open(source) as file:
        if not RATES_HZ[0] <= file.samplerate <= RATES_HZ[1]:
            raise FormatError("bad_sample_rate", f"a sample rate of {file.samplerate} Hz")
        mono = _mono(file, MAX_SECONDS if max_seconds is None else max_seconds)
        yield from resample_blocks(mono, file.samplerate, sample_rate_hz, resampler)


def _open(source: Path | bytes) -> "SoundFile | FfmpegFile":
    import soundfile

    head, size = _head(source)
    try:
        file = soundfile.SoundFile(_for_libsndfile(source))
    except (soundfile.SoundFileError, TypeError) as error:
        # TypeError: soundfile wants to be told the layout of a file that is called .raw.
        return _open_with_ffmpeg(source, head, getattr(error, "error_string", str(error)))
    expected = 8 + int.from_bytes(head[4:8], SIZED.get(head[:4], "big"))
    if head[:4] in SIZED and size < 0.99 * expected < STREAMED:
        _log.warning("%s: cut off, holds %d of %d bytes", _name(file), size, expected)
    return file


def _for_libsndfile(source: Path | bytes) -> io.BytesIO | bytes | str:
    """What soundfile opens whatever the name is: in UTF-8 or not, or `-`, its standard input."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = os.path.abspath(source)
    return path if os.name == "nt" else os.fsencode(path)


def _open_with_ffmpeg(source: Path | bytes, head: bytes, refusal: str) -> FfmpegFile:
    """`refusal`: why libsndfile does not read it."""
    program = None if _kind(head, NO_SOUND) else shutil.which("ffmpeg")
    known = head.startswith(READABLE)
    if program is None:
        fault = ("corrupt_audio", _damaged(refusal)) if known else _foreign(head)
        raise FormatError(*fault)
    try:
        return FfmpegFile(program, source)
    except FormatError as error:
        fault = ("corrupt_audio", "damaged from the start") if known else _foreign(head)
        raise FormatError(fault[0], f"{fault[1]}; {error}") from error


def _damaged(refusal: str) -> str:
    return (
        f"damaged from the start: {refusal} (if a player plays it, it needs the ffmpeg program, "
        "which is not installed)"
    )


def _foreign(head: bytes) -> tuple[str, str]:
    found = _kind(head, CONTAINERS | NO_SOUND) or "something else"
    message = f"not a WAV, FLAC, Ogg or MP3 file but {found}"
    if shutil.which("ffmpeg") is None:
        message += (
            "; such sound is read where the ffmpeg program is installed, or after "
            "ffmpeg -i FILE FILE.wav"
        )
    return "unsupported_audio", message


def _name(file: "SoundFile | FfmpegFile") -> str:
    """For people; of a file that was given as bytes nothing is known."""
    return os.fsdecode(file.name) if isinstance(file.name, str | bytes) else "a recording"


def _kind(head: bytes, kinds: dict[tuple[int, bytes], str]) -> str | None:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    for (at, magic), name in kinds.items():
        if head[at:].startswith(magic) or (at == 0 and text.startswith(magic)):
            return name
    return None


def _head(source: Path | bytes) -> tuple[bytes, int]:
    """The first bytes and how many there are, which also tells whether there is a file to read."""
    if isinstance(source, bytes):
        head, size = source[:HEAD_BYTES], len(source)
    else:
        try:
            if not stat.S_ISREG(os.stat(source).st_mode):
                raise OSError("not a file")
            with open(source, "rb") as file:
                head, size = file.read(HEAD_BYTES), os.path.getsize(source)
        except (OSError, ValueError) as error:
            raise FormatError("unreadable_file", f"cannot be read: {error}") from error
    if not head:
        raise FormatError("empty_file", "the file is empty")
    return head, size


def _mono(file: "SoundFile | FfmpegFile", max_seconds: float) -> Iterator[np.ndarray]:
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
        with np.errstate(over="ignore", invalid="ignore"):  # told by what comes of it
            mono = sum(block.T[1:], block[:, 0]) / np.float32(file.channels)
        _check(mono, total, file.samplerate)
        total += len(mono)
        if total > max_seconds * file.samplerate:
            raise FormatError("too_long", f"longer than {max_seconds / 3600:g} hours")
        yield mono
    if not total:
        raise FormatError("no_samples", "the file holds no samples")
    if total < 0.99 * file.frames:
        heard, expected = total / file.samplerate, file.frames / file.samplerate
        _log.warning("%s: damaged, holds %.1f of %.1f s", _name(file), heard, expected)


def _check(mono: np.ndarray, before: int, rate: int) -> None:
    sane = np.abs(mono) < LOUDEST  # not so: NaN
    if not sane.all():
        at = (before + int(np.argmin(sane))) / rate
        raise FormatError(
            "not_finite", f"NaN, infinity or a value beyond {LOUDEST:g} at {at:.3f} s"
        )
