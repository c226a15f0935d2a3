"""Standard ABC to interleaved ABC, one shard at a time."""

from pathlib import Path

from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.conversion import convert_pieces, file_limits
from clamp3.files import read_table
from clamp3.formats.abc import interleave_abc


def interleave_scores(
    abc_part: Path,
    table: Path,
    rejected: Path,
    settings: ConversionConfig,
    limits: LimitsConfig | None = None,
) -> None:
    """Write the interleaved ABC (columns id, abc) of a part that `convert_scores` wrote.

    Scores that `convert_scores` rejected are no input.
    """
    columns = read_table(abc_part, columns=["id", "abc"]).to_pydict()
    inputs = list(zip(columns["id"], columns["abc"], strict=True))
    bounds = file_limits(limits)

    def convert(text: str) -> str:
        return interleave_abc(text, limits=bounds)

    convert_pieces("interleave", "abc", inputs, convert, (table, rejected), settings)
