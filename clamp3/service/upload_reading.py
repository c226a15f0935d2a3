"""Uploaded files as a model reads them. Nothing here needs torch: the processes start at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.audio import SAMPLE_RATE_HZ, Recording
from clamp3.formats.modality import FileFormat, detect_format
from clamp3.retrieval.embedding.reading import Piece, Reader
from clamp3.retrieval.embedding.sources import Source, attempt

WARM_SAMPLES = 5 * SAMPLE_RATE_HZ
# The model works on one batch of uploads after the other, and none can be stopped: what holds more
# would keep all that come after it waiting.
MOST_CHARACTERS = 2**18  # of a text
MOST_PATCHES = 2**16  # of a score or performance; a movement for orchestra has some 10,000


@dataclass(frozen=True)
class Upload:
    """An uploaded file, and the name that its sender gave it."""

    path: Path
    name: str


@dataclass(frozen=True)
class Read:
    """What a model reads of an uploaded file, or why there is nothing."""

    source: Source
    piece: Piece | FormatError


@dataclass(frozen=True)
class UploadReader:
    """Turns an upload into what a model reads; runs in a process of its own.

    `refused`: formats that the model does not read, and why. `seconds`: of the longest recording.
    """

    reader: Reader
    refused: Mapping[FileFormat, FormatError]
    seconds: float

    def __call__(self, upload: Upload | None) -> Read | None:
        """What is read of it; never raises. None: whatever takes time at first is done."""
        if upload is None:
            if self.reader.front_end is not None:
                self.reader.front_end.features(np.zeros(WARM_SAMPLES, np.float32))
            return None
        source = Source(upload.name, upload.path, FileFormat.TEXT)
        try:
            file_format = detect_format(upload.path, upload.name)
            source = Source(upload.name, upload.path, file_format)
            if file_format in self.refused:
                raise self.refused[file_format]
            piece = attempt(self.reader.piece, source)
            if source.is_sound:
                self._refuse_long(piece)
            else:
                _refuse_large(piece)
        except FormatError as error:
            return Read(source, error)
        return Read(source, piece)

    def _refuse_long(self, piece: object) -> None:
        seconds = self._seconds_of(piece)
        if seconds > self.seconds:
            raise FormatError(
                "too_long",
                f"the recording lasts {seconds:.0f} s or more; at most {self.seconds:g} s are read",
            )

    def _seconds_of(self, piece: object) -> float:
        """How long a recording lasts, at least."""
        if isinstance(piece, Recording):
            return piece.seconds
        if isinstance(piece, np.ndarray):
            return (len(piece) - 1) * self.reader.front_end.window_seconds  # and some of the last
        return (
            sum(map(len, piece.chunks)) / self.reader.rate_hz
        )  # importing their class takes torch


def _refuse_large(piece: Piece) -> None:
    if isinstance(piece, str) and len(piece) > MOST_CHARACTERS:
        most, unit = MOST_CHARACTERS, "characters"
    elif isinstance(piece, np.ndarray) and len(piece) > MOST_PATCHES:
        most, unit = MOST_PATCHES, "rows"
    else:
        return
    raise FormatError("too_long", f"it holds {len(piece):,} {unit}; at most {most:,} are read")
