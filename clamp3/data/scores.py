"""MusicXML to standard ABC, one shard at a time."""

from pathlib import Path

from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.conversion import convert_pieces, file_limits
from clamp3.data.raw_files.reading import RawFiles
from clamp3.files import read_table
from clamp3.formats.musicxml import musicxml_to_abc


def convert_scores(
    catalog_part: Path,
    table: Path,
    rejected: Path,
    settings: ConversionConfig,
    limits: LimitsConfig | None = None,
) -> None:
    """Write the standard ABC (columns id, abc) of the scores that a part of the catalogue names.

    A piece with a lead sheet keeps it as it is, one with a MusicXML file is converted, one with
    neither is no input. Rows stay sorted by id. Files beyond `limits` are rejected (None: those
    of clamp3.formats.limits, here and in the other two steps).

    Paths are addresses (see clamp3.data.raw_files.addresses), also in archives and elsewhere.

    Raises StorageError when files cannot be had at all, DataError when more than
    `settings.max_rejected_share` were rejected, after both tables were written; so do the other
    two steps.
    """
    rows = read_table(catalog_part, columns=["id", "mxl_path", "leadsheet"]).to_pylist()
    inputs = [(row["id"], row) for row in rows if row["mxl_path"] or row["leadsheet"]]
    bounds = file_limits(limits)

    upcoming = (row["mxl_path"] for _, row in inputs if not row["leadsheet"])
    most = {"max_bytes": bounds.max_document_bytes, "max_ratio": bounds.max_compression_ratio}
    with RawFiles(upcoming, **most) as files:

        def convert(row: dict) -> str:
            if row["leadsheet"]:
                return row["leadsheet"]
            return musicxml_to_abc(files.fetch(row["mxl_path"]), limits=bounds)

        convert_pieces("abc", "abc", inputs, convert, (table, rejected), settings)
