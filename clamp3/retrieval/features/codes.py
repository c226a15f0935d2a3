"""From recordings to EnCodec's codes, and on to what MusicGen makes of them: tables by part."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clamp3.config import CodesConfig, MusicgenReading, RecordingChunks
from clamp3.data.listing import LISTING, list_parts
from clamp3.data.raw_files.addresses import watched
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.rejected import Rejected, close_step, read_rejected, write_rejected
from clamp3.errors import DataError, FormatError
from clamp3.files import alone_in, atomic_path, read_table, sha256_of, write_table
from clamp3.logs import progress
from clamp3.models.clap_musicgen import Codec, DecoderTower
from clamp3.models.clap_musicgen.pretrained import load_codec, load_decoder
from clamp3.models.weights import tensors_hash
from clamp3.retrieval.features.chunks import read_chunks
from clamp3.retrieval.features.recordings import (
    RecordingFolder,
    fetch_recording,
    list_column,
    open_recordings,
    refuse_incomplete,
)

STAGE = "codes"
GROUP_FILES = 16  # recordings whose chunks are computed together
BATCH_FRAMES = 1500  # that the decoder reads at once, about: half a minute of sound
GPU_BATCH_FRAMES = 48_000

log = logging.getLogger(__name__)


def recording_codes(codec: Codec, source: Path | bytes, plan: RecordingChunks) -> list[np.ndarray]:
    """The codes int16 [K, F] of each chunk of one recording, of any format, rate and channels.

    Raises FormatError: read_chunks's and Codec.codes_of's.
    """
    return codec.codes_of(read_chunks(source, plan, codec.config.sampling_rate))


def extract_codes(
    part: Path,
    recordings: Path | str | None,
    table: Path,
    rejected: Path,
    settings: CodesConfig,
    *,
    by_name: bool = False,
    resampler: str = "sinc",
    device: str | None = None,
) -> None:
    """Write the codes of one part: id, codes list<fixed_size_list<int16>[K]>, frames list<int32>.

    `codes` are those of all chunks, one after the other; `frames` says how many each has. `part`
    has a column `id` and perhaps `audio_path`; where that says nothing, the recording is the one in
    the folder `recordings` that is called like the piece (see RecordingFolder, also on `by_name`),
    and a piece without one is no input. What cannot be used is in the rejected table. The metadata
    say which codec, codebooks and chunks. `device`: None takes a GPU where there is one.

    Raises DataError for no folder or too many rejects, CheckpointError for no codec.
    """
    found = list(_named(part, _opened(recordings, by_name)))
    _Coder(settings, resampler, device).write(found, table, rejected)
    _close([table], [rejected], len(found), settings)


def code_parts(
    parts: Mapping[Path, Path | str | None],
    folder: Path,
    settings: CodesConfig,
    *,
    resume: Path,
    by_name: bool = False,
    resampler: str = "sinc",
    device: str | None = None,
) -> None:
    """Write the codes of all parts, what was rejected, and their listing, to a new folder.

    `parts`: parts of the catalogue, each with the folder of its recordings; for the rest see
    `extract_codes`. Finished parts wait in the folder `resume`, so that a run that was killed goes
    on there.
    """
    coder = _Coder(settings, resampler, device)
    how = coder.says | {"resampler": resampler}
    rows, tables, rejects = 0, {}, {}
    opened = {place: _opened(place, by_name) for place in set(parts.values())}
    with alone_in(resume):
        for part, recordings in progress(parts.items(), STAGE):
            found = list(_named(part, opened[recordings]))
            rows += len(found)
            kept = resume / _digest(_content(found), how)
            tables[part], rejects[part] = kept / "codes.parquet", kept / "rejected.parquet"
            if not (_is_whole(tables[part]) and _is_whole(rejects[part])):
                coder.write(found, tables[part], rejects[part])
        _close(list(tables.values()), list(rejects.values()), rows, settings)
        finished = {part.name: table for part, table in tables.items()}
        finished |= {f"rejected-{part.name}": table for part, table in rejects.items()}
        _gather(finished, folder, len(parts), resume)


def _is_whole(table: Path) -> bool:
    """Whether a run before has left this table; one that is damaged is made again."""
    if not table.exists():
        return False
    try:
        read_table(table)
    except DataError as error:
        log.warning("%s; made again", error)
        return False
    return True


def _gather(finished: Mapping[str, Path], folder: Path, parts: int, resume: Path) -> None:
    """Put finished tables into a new folder under their names, with their listing."""
    with atomic_path(folder) as draft:
        draft.mkdir()
        for name, table in finished.items():
            shutil.copy(table, draft / name)
        list_parts(draft, parts, draft / LISTING)
    shutil.rmtree(resume, ignore_errors=True)


class _Coder:
    """A codec, and how recordings reach it; `says`: what its tables say of that."""

    def __init__(self, settings: CodesConfig, resampler: str, device: str | None):
        self._codec = load_codec(settings.codec or settings.musicgen).to(_device(device))
        self._plan = settings.recordings
        self._resampler = resampler
        self.says = {
            "codec": tensors_hash(self._codec.state_dict()),
            "codebooks": str(self._codec.config.codebooks),
            "chunks": json.dumps(settings.recordings.model_dump()),
        }

    def write(self, found: Sequence[tuple[str, list[str]]], table: Path, rejected: Path) -> None:
        """Write the table of codes of these recordings, after that of what was rejected."""
        done: list[tuple[str, list[np.ndarray]]] = []
        faults = []
        for piece_id, result in self._coded(found):
            if isinstance(result, FormatError):
                faults.append(Rejected(piece_id, STAGE, result.kind, str(result)))
            else:
                done.append((piece_id, result))
        write_rejected(rejected, faults)
        write_table(table, _code_table(done, self._codec.config.codebooks, self.says))

    def _coded(
        self, found: Sequence[tuple[str, list[str]]]
    ) -> Iterator[tuple[str, list[np.ndarray] | FormatError]]:
        """Yield each id with the codes of its chunks, or why there are none; few are in memory."""
        pieces = self._read(found)
        while group := list(islice(pieces, GROUP_FILES)):
            good = [chunk for _, chunks in group if isinstance(chunks, list) for chunk in chunks]
            made = iter(self._codec.codes_of(good))
            for piece_id, chunks in group:
                bad = isinstance(chunks, FormatError)
                yield piece_id, chunks if bad else [next(made) for _ in chunks]

    def _read(
        self, found: Sequence[tuple[str, list[str]]]
    ) -> Iterator[tuple[str, list[np.ndarray] | FormatError]]:
        """Yield each id with its chunks, or why there are none."""
        rate = self._codec.config.sampling_rate
        with open_recordings(found) as source:
            for piece_id, files in found:
                try:
                    file = fetch_recording(source, files)
                    yield piece_id, read_chunks(file, self._plan, rate, self._resampler)
                except FormatError as error:
                    yield piece_id, error


def _code_table(
    rows: list[tuple[str, list[np.ndarray]]], books: int, said: dict[str, str]
) -> pa.Table:
    joined = [np.concatenate(chunks, axis=1).T for _, chunks in rows]
    frames = [[chunk.shape[1] for chunk in chunks] for _, chunks in rows]
    columns = {
        "id": pa.array([name for name, _ in rows], pa.string()),
        "codes": list_column(joined, books, np.int16),
        "frames": pa.array(frames, pa.list_(pa.int32())),
    }
    return pa.table(columns).replace_schema_metadata(said)


def _content(found: Sequence[tuple[str, list[str]]]) -> str:
    """Tells other recordings apart, and those of this machine that were written again."""
    named = [path for _, paths in found for path in paths]
    with RawFiles() as files:
        size_of = dict(zip(named, files.sizes(named), strict=True))
    return json.dumps([(name, [_state(p, size_of[p]) for p in paths]) for name, paths in found])


def _state(address: str, size: int | None) -> tuple[str, int, int]:
    """What changes when a file, or the archive that it lies in, is written again here."""
    places = [place for place in map(Path, watched(address)) if place.exists()]
    when = max((place.stat().st_mtime_ns for place in places), default=-1)
    return address, -1 if size is None else size, when


def _close(tables: list[Path], rejects: list[Path], rows: int, settings: CodesConfig) -> None:
    close_step(
        STAGE,
        read_rejected(rejects),
        rows_in=rows,
        rows_out=sum(pq.read_metadata(table).num_rows for table in tables),
        max_rejected_share=settings.max_rejected_share,
    )


def read_codes(table: Path) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield (id, the codes int16 [K, F] of each chunk) of a table of codes.

    Raises DataError where it is none.
    """
    rows = read_table(table, columns=["id", "codes", "frames"])
    for batch in rows.to_batches(max_chunksize=256):
        columns = (batch.column(name) for name in ("id", "codes", "frames"))
        for piece_id, codes, frames in zip(*columns, strict=True):
            width = codes.type.value_type.list_size
            flat = codes.values.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            ends = np.cumsum(frames.as_py())
            if not len(ends) or ends[-1] != len(flat):
                raise DataError(f"{table}: {piece_id}: {len(flat)} codes, but frames {frames}")
            yield piece_id.as_py(), [part.T for part in np.split(flat, ends[:-1])]


def pool_parts(
    codes: Sequence[Path],
    folder: Path,
    musicgen: str | Path,
    reading: MusicgenReading,
    *,
    resume: Path,
    device: str | None = None,
) -> None:
    """Write what MusicGen makes of all parts, and their listing, to a new folder; see pool_codes.

    Finished parts wait in the folder `resume`, so that a run that was killed goes on there.
    """
    tower = load_decoder(musicgen, reading).to(_device(device))
    how = _described(tower, reading)
    done = {part: resume / f"{_digest(sha256_of(part), how)}.parquet" for part in codes}
    with alone_in(resume):
        for part in progress(list(codes), "states"):
            if not _is_whole(done[part]):
                _pool(part, done[part], tower, how)
        _gather({part.name: table for part, table in done.items()}, folder, len(codes), resume)


def _described(tower: DecoderTower, reading: MusicgenReading) -> dict[str, str]:
    """What tables of states say of the decoder that made them, and how."""
    return {
        "decoder": tensors_hash(tower.state_dict()),
        "reading": json.dumps(reading.model_dump()),
        "feature_size": str(tower.config.hidden_size),
    }


def _digest(codes: str, how: dict[str, str]) -> str:
    return hashlib.sha256((codes + json.dumps(how)).encode()).hexdigest()


def pool_codes(
    codes: Path,
    table: Path,
    musicgen: str | Path,
    reading: MusicgenReading,
    *,
    device: str | None = None,
) -> None:
    """Write what MusicGen makes of a part: id, features list<fixed_size_list<float32>[D]>.

    A row per chunk, frozen, so that training need not compute them again; the table is one of
    features, as a Store reads it. The metadata are those of the codes, and which decoder read them
    how. Raises CheckpointError for no decoder, DataError for codes that are not for it.
    """
    tower = load_decoder(musicgen, reading).to(_device(device))
    _pool(codes, table, tower, _described(tower, reading))


def _pool(codes: Path, table: Path, tower: DecoderTower, how: dict[str, str]) -> None:
    rows = list(read_codes(codes))
    states = decoder_states(tower, [chunk for _, chunks in rows for chunk in chunks])
    ends = np.cumsum([len(chunks) for _, chunks in rows], dtype=int)
    parts = np.split(states, ends[:-1]) if rows else []
    columns = {
        "id": pa.array([piece_id for piece_id, _ in rows], pa.string()),
        "features": list_column(parts, tower.config.hidden_size, np.float32),
    }
    write_table(table, pa.table(columns).replace_schema_metadata(table_says(codes) | how))


def table_says(table: Path) -> dict[str, str]:
    """The metadata of a table of codes or states."""
    metadata = pq.read_schema(table).metadata or {}
    return {key.decode(): value.decode() for key, value in metadata.items()}


@torch.inference_mode()
def decoder_states(tower: DecoderTower, chunks: Sequence[np.ndarray]) -> np.ndarray:
    """The vectors float32 [N, D] of codes [K, F]; like lengths are computed together.

    Raises DataError for codes that the decoder does not know.
    """
    books, words = tower.config.num_codebooks, tower.config.vocab_size
    for chunk in chunks:
        if chunk.shape[0] < books or not 0 <= chunk.min() <= chunk.max() < words:
            raise DataError(
                f"codes [{chunk.shape[0]}, {chunk.shape[1]}] from {chunk.min()} to {chunk.max()}; "
                f"the decoder reads {books} codebooks of {words}: were they made by its codec?"
            )
    found = np.empty((len(chunks), tower.config.hidden_size), np.float32)
    order = sorted(range(len(chunks)), key=lambda place: -chunks[place].shape[1])
    frames = BATCH_FRAMES if next(tower.parameters()).device.type == "cpu" else GPU_BATCH_FRAMES
    while order:
        size = max(1, frames // chunks[order[0]].shape[1])
        places, order = order[:size], order[size:]
        found[places] = _padded_states(tower, [chunks[place][:books] for place in places])
    return found


def _padded_states(tower: DecoderTower, chunks: Sequence[np.ndarray]) -> np.ndarray:
    device = next(tower.parameters()).device
    longest = max(chunk.shape[1] for chunk in chunks)
    codes = torch.zeros(len(chunks), chunks[0].shape[0], longest, dtype=torch.long)
    mask = torch.zeros(len(chunks), longest, dtype=torch.long)
    for row, chunk in enumerate(chunks):
        codes[row, :, : chunk.shape[1]] = torch.from_numpy(chunk.astype(np.int64))
        mask[row, : chunk.shape[1]] = 1
    return tower(codes.to(device), mask.to(device)).float().cpu().numpy()


def _device(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def _opened(recordings: Path | str | None, by_name: bool) -> RecordingFolder | None:
    if not recordings:
        return None
    refuse_incomplete(recordings)
    return RecordingFolder(recordings, by_name=by_name)


def _named(part: Path, folder: RecordingFolder | None) -> Iterator[tuple[str, list[str]]]:
    """Each piece's id and sound files; several claim to be the same."""
    table = read_table(part)
    ids = table.column("id").to_pylist()
    tells = "audio_path" in table.column_names
    paths = table.column("audio_path").to_pylist() if tells else [None] * len(ids)
    if folder is None and not tells:
        raise DataError(f"{part}: no column audio_path, and no folder of recordings given")
    found = [
        (name, [path] if path else folder.find(name) if folder else [])
        for name, path in zip(ids, paths, strict=True)
    ]
    if folder and len(folder) and not any(files for _, files in found):
        log.warning("%s: none of %d sound files is a piece of it", part, len(folder))
    yield from (row for row in found if row[1])
