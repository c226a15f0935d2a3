"""MIDI to MTF, one shard at a time."""

from pathlib import Path

from clamp3.config import LimitsConfig, MtfConfig
from clamp3.data.conversion import Warned, convert_pieces, file_limits
from clamp3.data.raw_files.reading import RawFiles
from clamp3.files import read_table
from clamp3.formats.mtf import read_midi


def convert_performances(
    catalog_part: Path,
    table: Path,
    rejected: Path,
    settings: MtfConfig,
    limits: LimitsConfig | None = None,
) -> None:
    """Write the MTF (columns id, mtf, warning) of a catalogue part's MIDI files.

    A piece without a MIDI file is no input. `warning` says what was forgiven in the file
    (`wrapped: …; trailing_bytes: …`, see clamp3.formats.mtf.read_midi), null where it is whole.
    """
    columns = read_table(catalog_part, columns=["id", "mid_path"]).to_pydict()
    named = zip(columns["id"], columns["mid_path"], strict=True)
    inputs = [(piece_id, path) for piece_id, path in named if path]
    bounds = file_limits(limits)
    most = {"max_bytes": bounds.max_midi_bytes, "max_ratio": bounds.max_compression_ratio}
    with RawFiles((path for _, path in inputs), **most) as files:

        def convert(path: str) -> Warned:
            file = files.fetch(path)
            mtf, warnings = read_midi(file, keep_metadata=settings.keep_metadata, limits=bounds)
            return Warned(mtf, "; ".join(map(str, warnings)) or None)

        convert_pieces("mtf", "mtf", inputs, convert, (table, rejected), settings, warns=True)
