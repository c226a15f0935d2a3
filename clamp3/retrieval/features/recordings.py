"""The pipeline's recordings: MIDI files played into sound files, and sound files found by name."""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from clamp3.config import AudioConfig
from clamp3.data.raw_files.addresses import below, local_path
from clamp3.data.raw_files.folders import names_below
from clamp3.data.raw_files.reading import RawFiles
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.errors import DataError, FormatError
from clamp3.files import atomic_path, read_table, write_json
from clamp3.formats.audio import SAMPLE_RATE_HZ, encode_ogg
from clamp3.formats.limits import DEFAULT_LIMITS
from clamp3.formats.synthesis import Renderer, find_renderer
from clamp3.logs import progress
from clamp3.randomness import stable_fraction

STAGE = "recordings"
COLLECTION = "pdmx"  # the evaluation collections have no recordings
DESCRIPTION = "renderer.json"
NO_RENDERER = "none"  # real recordings
_MAX_BYTES = 1 << 30  # of a recording in an archive, or elsewhere
_AHEAD = 4  # recordings elsewhere that are on their way while one is worked on
_MAX_MIDI_BYTES = DEFAULT_LIMITS.max_midi_bytes  # in an archive, or elsewhere
# Files that cannot be decoded are looked for too: they are rejected, not passed over.
DECODABLE = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
OTHERS = (".aac", ".m4a", ".mp4", ".webm", ".wma")
SUFFIXES = frozenset(DECODABLE + OTHERS)

log = logging.getLogger(__name__)


def render_recordings(
    catalog_part: Path, out_folder: Path, settings: AudioConfig, *, renderer: Renderer | None = None
) -> None:
    """Write out_folder/<id>.ogg for the share of the PDMX rows of one part that is rendered.

    `render_share` of the rows with a MIDI file are chosen, by a hash of their ids. Beside the
    recordings stand rejected.parquet and renderer.json, which says who played (`renderer`: None
    takes find_renderer's) and how many recordings there are. The MIDI files may lie in archives
    and elsewhere, as their addresses say.
    Raises StorageError where they cannot be had at all, DataError if more than
    `max_rejected_share` of the chosen fail.
    """
    renderer = renderer or find_renderer()
    log.info("%s: played by %s", STAGE, renderer.name)
    chosen = _chosen(catalog_part, settings.render_share)
    rejected = []
    upcoming = (midi for _, midi in chosen)
    with atomic_path(out_folder) as draft, RawFiles(upcoming, max_bytes=_MAX_MIDI_BYTES) as files:
        draft.mkdir()
        for piece_id, midi in progress(chosen, "recordings"):
            try:
                content = files.fetch(midi)
                waveform = renderer.render(content, settings.render_seconds, SAMPLE_RATE_HZ)
                file = draft / f"{piece_id}.ogg"
                file.parent.mkdir(exist_ok=True)
                file.write_bytes(encode_ogg(waveform, SAMPLE_RATE_HZ))
            except FormatError as error:
                rejected.append(Rejected(piece_id, STAGE, error.kind, str(error)))
        rows_out = len(chosen) - len(rejected)
        write_rejected(draft / "rejected.parquet", rejected)
        write_json(draft / DESCRIPTION, {"renderer": renderer.name, "recordings": rows_out})
    close_step(
        STAGE,
        rejected,
        rows_in=len(chosen),
        rows_out=rows_out,
        max_rejected_share=settings.max_rejected_share,
    )


def _chosen(catalog_part: Path, share: float) -> list[tuple[str, str]]:
    """(id, path of the MIDI file) of the rows to render, in the catalogue's order."""
    rows = read_table(catalog_part, ["id", "collection", "mid_path"]).to_pylist()
    own = [(row["id"], row["mid_path"]) for row in rows if row["collection"] == COLLECTION]
    return [(name, midi) for name, midi in own if midi and stable_fraction(name, "render") < share]


def read_renderer(folder: Path) -> str:
    """Who played the recordings that render_recordings left in the folder.

    Raises DataError unless the folder is complete.
    """
    path = Path(folder) / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        renderer, expected = description["renderer"], description["recordings"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: not a description of rendered recordings ({error})") from error
    found = sum(1 for _ in Path(folder).rglob("*.ogg"))
    if found != expected:
        raise DataError(
            f"{folder}: holds {found} recordings, {DESCRIPTION} says {expected}: some are missing, "
            "or were put there; delete the folder and run the same again to have all of them made"
        )
    return renderer


def refuse_incomplete(folder: Path | str) -> None:
    """Raise DataError for a folder of rendered recordings that has lost some; others are as is."""
    if Path(folder, DESCRIPTION).exists():
        read_renderer(Path(folder))


def open_recordings(found: Iterable[tuple[str, Sequence[str]]]) -> RawFiles:
    """What reads the recordings of (id, addresses) in this order, wherever they lie."""
    addresses = (files[0] for _, files in found if len(files) == 1)
    return RawFiles(addresses, max_bytes=_MAX_BYTES, ahead=_AHEAD)


def fetch_recording(source: RawFiles, files: Sequence[str]) -> Path | bytes:
    """The one recording that a piece has. Raises FormatError for several, or none that is there."""
    if len(files) > 1:
        names = ", ".join(files)
        raise FormatError("ambiguous_recording", f"several files are called like it: {names}")
    return source.fetch(files[0])


class RecordingFolder:
    """The sound files of a folder and its sub-folders, found by what they are called.

    A piece's recording is <id>.<suffix>, so that the collection is a sub-folder, or, with
    `by_name`, <name>.<suffix> in any folder; the case of the suffix does not matter. The folder may
    lie in an archive or elsewhere.
    Raises DataError if there is no such folder, StorageError.
    """

    def __init__(self, folder: Path | str, *, by_name: bool = True):
        self._files: dict[str, set[str]] = defaultdict(set)
        names = names_below(folder)
        if not names and not Path(local_path(str(folder))).is_dir():
            raise DataError(f"{folder}: no such folder; expected sound files named like the pieces")
        for name in map(PurePosixPath, names):
            if name.suffix.lower() in SUFFIXES:
                path = below(str(folder), str(name))
                self._files[str(name.with_suffix(""))].add(path)
                if by_name:
                    self._files[name.stem].add(path)

    def __len__(self) -> int:
        return len(set().union(*self._files.values()))

    def find(self, piece_id: str) -> list[str]:
        """The addresses of a piece's files, sorted: none, one, or several that claim to be it."""
        name = piece_id.partition("/")[2]
        return sorted(self._files.get(piece_id) or self._files.get(name, ()))


def list_column(rows: Sequence[np.ndarray], size: int, kind: type) -> pa.ListArray:
    """Matrices [n, size] as list<fixed_size_list[size]>."""
    values = np.concatenate([np.empty((0, size), kind), *rows]).astype(kind)
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.ListArray.from_arrays(pa.array(ends), pa.FixedSizeListArray.from_arrays(flat, size))
