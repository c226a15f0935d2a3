"""Standard ABC to interleaved ABC, one shard at a time."""

from pathlib import Path

from clamp3.config import ConversionConfig
from clamp3.data.conversion import convert_pieces
from clamp3.files import read_table
from clamp3.formats.abc import interleave_abc


def interleave_scores(
    abc_part: Path, table: Path, rejected: Path, settings: ConversionConfig
) -> None:
    """Write the interleaved ABC (columns id, abc) of a part that `convert_scores` wrote.

    Scores that `convert_scores` rejected are no input.
    """
    columns = read_table(abc_part, columns=["id", "abc"]).to_pydict()
    inputs = zip(columns["id"], columns["abc"], strict=True)
    convert_pieces("interleave", "abc", list(inputs), interleave_abc, (table, rejected), settings)
