"""What the ffmpeg program decodes, read like a soundfile.SoundFile."""

import logging
import os
import struct
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from clamp3.errors import FormatError

# Asked for as Sun AU, because its head alone tells rate and channels and needs no size.
AU_HEAD = struct.Struct(">4s5I")  # magic, bytes before the samples, size, encoding, rate, channels
AU_FLOAT = 6
MAX_CHANNELS = 1024  # as many as libsndfile takes
MAX_HEAD_BYTES = 2**16
CLOSING_SECONDS = 60  # to end after the last sample
# An edit list may name further files, but none on the network; playlists do not come here.
INPUT = ("-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file", "-i")
OUTPUT = ("-map", "0:a:0", "-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1")

_log = logging.getLogger(__name__)


class FfmpegFile:
    """The first sound of a file: `samplerate`, `channels`, and `read` for block after block.

    The program runs as long as this is open, and waits while nobody reads.
    """

    frames = 0  # not known beforehand

    def __init__(self, program: str, source: Path | bytes):
        """Raises FormatError (unsupported_audio) where the program finds no sound."""
        self.name = "a recording" if isinstance(source, bytes) else str(source)
        self._done = 0
        with ExitStack() as stack:
            self._messages = stack.enter_context(tempfile.TemporaryFile())
            # With "file:" before it no name is taken for an option or an address.
            command = [program, *INPUT, f"file:{_path(source, stack)}", *OUTPUT]
            self._process = self._start(command)
            stack.callback(self._stop)
            self.samplerate, self.channels = self._head()
            self._resources = stack.pop_all()

    def __enter__(self) -> "FfmpegFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next samples [S, channels], fewer than `frames` at the end and none behind it.

        Raises FormatError (corrupt_audio) where the program gives up.
        """
        size = 4 * self.channels
        data = self._output.read(frames * size)
        block = np.frombuffer(data[: len(data) // size * size], ">f4").astype(dtype)
        self._done += len(block) // self.channels
        if len(data) < frames * size:
            self._finish()
        return block.reshape(-1, self.channels)

    def _start(self, command: list[str]) -> subprocess.Popen:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._messages,
            )
        except (OSError, ValueError) as error:
            raise FormatError("unsupported_audio", f"ffmpeg cannot be run: {error}") from error
        self._output = process.stdout
        return process

    def _stop(self) -> None:
        self._output.close()
        self._process.kill()
        self._process.wait()

    def _head(self) -> tuple[int, int]:
        """Sample rate and channels; what comes next in the pipe is samples."""
        data = self._output.read(AU_HEAD.size)
        if len(data) < AU_HEAD.size:
            self._wait()
            raise FormatError("unsupported_audio", f"ffmpeg finds no sound in it: {self._said()}")
        magic, size, _, encoding, rate, channels = AU_HEAD.unpack(data)
        sane = AU_HEAD.size <= size <= MAX_HEAD_BYTES and 1 <= channels <= MAX_CHANNELS
        if magic != b".snd" or encoding != AU_FLOAT or not sane:
            raise FormatError("unsupported_audio", "ffmpeg does not answer with float samples")
        self._output.read(size - AU_HEAD.size)
        return rate, channels

    def _finish(self) -> None:
        """After the last sample: whether the program was content."""
        status = self._wait()
        if status:
            at = f"{self._done / self.samplerate:.1f} s"
            said = self._said() or f"status {status}"
            raise FormatError("corrupt_audio", f"damaged after {at}; ffmpeg: {said}")
        if self._said():
            _log.warning("%s: may be damaged; ffmpeg: %s", self.name, self._said())

    def _wait(self) -> int:
        try:
            return self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise FormatError("corrupt_audio", "ffmpeg does not come to an end") from error

    def _said(self) -> str:
        """The last line of the program's messages."""
        end = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, end - 1000))
        lines = self._messages.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[-300:]


def _path(source: Path | bytes, stack: ExitStack) -> str:
    """Where the program finds the file. Bytes go to a temporary one, as it has to move in them."""
    if not isinstance(source, bytes):
        return os.path.abspath(source)
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "sound")
    path.write_bytes(source)
    return str(path)
