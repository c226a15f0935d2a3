"""MusicXML to standard ABC, one shard at a time."""

from pathlib import Path

from clamp3.config import ConversionConfig
from clamp3.data.conversion import convert_pieces, existing_file
from clamp3.files import read_table
from clamp3.formats.musicxml import musicxml_to_abc


def convert_scores(
    catalog_part: Path, table: Path, rejected: Path, settings: ConversionConfig
) -> None:
    """Write the standard ABC (columns id, abc) of the scores that a part of the catalogue names.

    A piece with a lead sheet keeps it as it is, one with a MusicXML file is converted, one with
    neither is no input. Rows stay sorted by id.

    Raises DataError when more than `settings.max_rejected_share` were rejected, after both tables
    were written; so do the other two steps.
    """
    columns = read_table(catalog_part, columns=["id", "mxl_path", "leadsheet"])
    pieces = [row for row in columns.to_pylist() if row["mxl_path"] or row["leadsheet"]]
    inputs = [(row["id"], row) for row in pieces]
    convert_pieces("abc", "abc", inputs, _score_to_abc, (table, rejected), settings)


def _score_to_abc(row: dict) -> str:
    return row["leadsheet"] or musicxml_to_abc(existing_file(row["mxl_path"]))
