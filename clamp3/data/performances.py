"""MIDI to MTF, one shard at a time."""

from pathlib import Path

from clamp3.config import MtfConfig
from clamp3.data.conversion import convert_pieces, existing_file
from clamp3.files import read_table
from clamp3.formats.mtf import midi_to_mtf


def convert_performances(
    catalog_part: Path, table: Path, rejected: Path, settings: MtfConfig
) -> None:
    """Write the MTF (columns id, mtf) of the MIDI files that a part of the catalogue names.

    A piece without a MIDI file is no input.
    """
    columns = read_table(catalog_part, columns=["id", "mid_path"]).to_pydict()
    named = zip(columns["id"], columns["mid_path"], strict=True)

    def convert(path: str) -> str:
        return midi_to_mtf(existing_file(path), keep_metadata=settings.keep_metadata)

    inputs = [(piece_id, path) for piece_id, path in named if path]
    convert_pieces("mtf", "mtf", inputs, convert, (table, rejected), settings)
