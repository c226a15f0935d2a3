"""From recordings to frozen features: a row per window, by one of two front ends."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from clamp3.config import AudioConfig
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.errors import ConfigError, FormatError
from clamp3.files import read_table, write_table
from clamp3.formats.audio import MelFrontEnd, Recording
from clamp3.logs import progress
from clamp3.retrieval.features.recordings import (
    NO_RENDERER,
    RecordingFolder,
    fetch_recording,
    list_column,
    open_recordings,
    read_renderer,
)

STAGE = "features"

log = logging.getLogger(__name__)


class FrontEnd(Protocol):
    """Turns sound into what the audio tower reads."""

    name: str
    feature_size: int

    def features(self, recording: Recording | np.ndarray) -> np.ndarray:
        """[F, E] float32 of a recording, or of a 24 kHz mono waveform [S]. Raises FormatError."""
        ...

    def features_of(
        self, recordings: Iterable[Recording | FormatError]
    ) -> Iterator[np.ndarray | FormatError]:
        """Yield the features of each recording, or why there are none, in their order."""
        ...


def build_front_end(settings: AudioConfig, device: str | None = None) -> FrontEnd:
    """The front end that the settings name; `device` (MERT): None takes a GPU where there is one.

    Raises ConfigError for MERT without a folder, CheckpointError for a folder that holds none.
    """
    lengths = {
        "window_seconds": settings.window_seconds,
        "min_tail_seconds": settings.min_tail_seconds,
    }
    if settings.front_end == "mel":
        return MelFrontEnd(**lengths)
    if settings.mert_folder is None:
        raise ConfigError("audio.front_end is mert: audio.mert_folder must name its checkpoint")
    from clamp3.models.mert import MertFrontEnd

    return MertFrontEnd(settings.mert_folder, device, **lengths)


def extract_features(
    catalog_part: Path, recordings: Path | str, table: Path, rejected: Path, settings: AudioConfig
) -> None:
    """Write the features of one part: id, features list<fixed_size_list<float32>[E]>.

    `recordings`: what render_recordings made of this part (source: render), or a folder of sound
    files named like the pieces (source: folder; see RecordingFolder), perhaps in an archive or
    elsewhere. A piece whose `audio_path` the catalogue names has that instead. Pieces without a
    file are no input; pieces whose file cannot be used are in the rejected table. The table's
    metadata name front_end, feature_size and renderer.
    Raises DataError for a folder that is missing or incomplete, or for too many rejects.
    """
    rendered = settings.source == "render"
    renderer = read_renderer(Path(recordings)) if rendered else NO_RENDERER
    folder = RecordingFolder(recordings, by_name=not rendered)
    front_end = build_front_end(settings)
    rows = read_table(catalog_part, ["id", "audio_path"]).to_pylist()
    named = ((row["id"], row["audio_path"]) for row in rows)
    found = [(i, files) for i, path in named if (files := [path] if path else folder.find(i))]
    if len(folder) and not found:
        log.warning("%s: none of %d sound files is a piece of this part", recordings, len(folder))
    done, faults = [], []
    with open_recordings(found) as source:
        sounds = (_read(source, own, settings.resampler) for _, own in progress(found, STAGE))
        made = front_end.features_of(sounds)
        for (piece_id, _), result in zip(found, made, strict=True):
            if isinstance(result, FormatError):
                faults.append(Rejected(piece_id, STAGE, result.kind, str(result)))
            else:
                done.append((piece_id, result))
    metadata = {"front_end": front_end.name, "renderer": renderer}
    write_table(table, _table(done, front_end.feature_size, metadata))
    write_rejected(rejected, faults)
    close_step(
        STAGE,
        faults,
        rows_in=len(found),
        rows_out=len(done),
        max_rejected_share=settings.max_rejected_share,
    )


def _read(source: RawFiles, files: list[str], resampler: str) -> Recording | FormatError:
    """The recording of a piece, or why there is none."""
    try:
        return Recording.read(fetch_recording(source, files), resampler)
    except FormatError as error:
        return error


def _table(rows: list[tuple[str, np.ndarray]], size: int, metadata: dict[str, str]) -> pa.Table:
    """The rows as a table, in their order."""
    columns = {
        "id": pa.array([piece_id for piece_id, _ in rows], pa.string()),
        "features": list_column([frames for _, frames in rows], size, np.float32),
    }
    return pa.table(columns).replace_schema_metadata({"feature_size": str(size), **metadata})
