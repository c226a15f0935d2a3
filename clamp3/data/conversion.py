"""Scores to ABC, ABC to interleaved ABC, MIDI to MTF: one shard at a time, one piece at a time.

Whatever is wrong with a piece costs that piece alone: it becomes a row of the rejected table, and
the others go on.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception_only

import pyarrow as pa

from clamp3.config import ConversionConfig, MtfConfig
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.errors import FormatError
from clamp3.files import read_table, write_table
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.logs import progress

log = logging.getLogger(__name__)


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
    _convert("abc", "abc", inputs, _score_to_abc, (table, rejected), settings)


def interleave_scores(
    abc_part: Path, table: Path, rejected: Path, settings: ConversionConfig
) -> None:
    """Write the interleaved ABC (columns id, abc) of a part that `convert_scores` wrote.

    Scores that `convert_scores` rejected are no input.
    """
    columns = read_table(abc_part, columns=["id", "abc"]).to_pydict()
    inputs = zip(columns["id"], columns["abc"], strict=True)
    _convert("interleave", "abc", list(inputs), interleave_abc, (table, rejected), settings)


def convert_performances(
    catalog_part: Path, table: Path, rejected: Path, settings: MtfConfig
) -> None:
    """Write the MTF (columns id, mtf) of the MIDI files that a part of the catalogue names.

    A piece without a MIDI file is no input.
    """
    columns = read_table(catalog_part, columns=["id", "mid_path"]).to_pydict()
    named = zip(columns["id"], columns["mid_path"], strict=True)

    def convert(path: str) -> str:
        return midi_to_mtf(_existing(path), keep_metadata=settings.keep_metadata)

    inputs = [(piece_id, path) for piece_id, path in named if path]
    _convert("mtf", "mtf", inputs, convert, (table, rejected), settings)


def _score_to_abc(row: dict) -> str:
    return row["leadsheet"] or musicxml_to_abc(_existing(row["mxl_path"]))


def _existing(path: str) -> Path:
    """The path of a file that is there and not empty; FormatError for others."""
    file = Path(path)
    if not file.exists():
        raise FormatError("missing_file", f"{path}: no such file")
    if not file.is_file():
        raise FormatError("missing_file", f"{path}: not a file")
    if file.stat().st_size == 0:
        raise FormatError("empty_file", f"{path}: empty")
    return file


def _convert(
    stage: str,
    column: str,
    inputs: list[tuple[str, object]],
    convert: Callable[[object], str],
    outputs: tuple[Path, Path],
    settings: ConversionConfig,
) -> None:
    """Write the table and the rejected table of a step; `inputs` are (id, what to convert)."""
    ids, texts, refused = [], [], []
    for piece_id, source in progress(inputs, stage, total=len(inputs)):
        result = _attempt(stage, piece_id, source, convert)
        if isinstance(result, Rejected):
            refused.append(result)
        else:
            ids.append(piece_id)
            texts.append(result)
    schema = pa.schema({"id": pa.string(), column: pa.string()})
    table, rejected = outputs
    write_table(table, pa.table({"id": ids, column: texts}, schema=schema))
    write_rejected(rejected, refused)
    close_step(
        stage,
        refused,
        rows_in=len(inputs),
        rows_out=len(ids),
        max_rejected_share=settings.max_rejected_share,
    )


def _attempt(
    stage: str, piece_id: str, source: object, convert: Callable[[object], str]
) -> str | Rejected:
    """The text, or why there is none. No exception leaves, so that one piece stops no shard."""
    try:
        text = convert(source)
        if not text.strip():
            raise FormatError("empty_piece", "nothing is left of it after conversion")
        text.encode("utf-8")
        return text
    except FormatError as error:
        return Rejected(piece_id, stage, error.kind, str(error))
    except OSError as error:
        return Rejected(piece_id, stage, "unreadable_file", str(error))
    except Exception as error:
        log.exception("%s: %s cannot be converted; a fault of the program", stage, piece_id)
        return Rejected(piece_id, stage, "internal_error", format_exception_only(error)[-1].strip())
