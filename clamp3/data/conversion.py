"""One shard, piece by piece, through a converter: the table, the rejected table, the books.

Whatever is wrong with a piece costs that piece alone: it becomes a row of the rejected table, and
the others go on. Which converter is in `scores`, `interleaving` and `performances`, apart, so that
a change of one format's code concerns that format's stage alone.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception_only
from typing import NamedTuple

import pyarrow as pa

from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.errors import DataError, FormatError
from clamp3.files import write_table
from clamp3.formats.limits import DEFAULT_LIMITS, Limits
from clamp3.logs import progress

log = logging.getLogger(__name__)

# Kept as Python's texts; more are put together as Arrow keeps them, which takes half the
# memory. Parquet is written in steps of as many, so that its bytes stay what they are.
ROWS_AT_ONCE = 1024


def file_limits(limits: LimitsConfig | None) -> Limits:
    """The limits of params.yaml as the readers take them; None: their own."""
    return Limits(**limits.model_dump()) if limits else DEFAULT_LIMITS


class Warned(NamedTuple):
    """A text made of a file with faults that were forgiven; None where there were none."""

    text: str
    warning: str | None


def convert_pieces(
    stage: str,
    column: str,
    inputs: list[tuple[str, object]],
    convert: Callable[[object], str | Warned],
    outputs: tuple[Path, Path],
    settings: ConversionConfig,
    *,
    warns: bool = False,
) -> None:
    """Write the table and the rejected table of a step; `inputs` are (id, what to convert).

    A step that `warns` has a column `warning` more; its `convert` gives `Warned` texts.
    """
    names = ["id", column] + ["warning"] * warns
    made: list[pa.Table] = []
    rows: list[tuple] = []
    refused = []
    for piece_id, source in progress(inputs, stage, total=len(inputs)):
        result = _attempt(stage, piece_id, source, convert)
        if isinstance(result, Rejected):
            refused.append(result)
        else:
            rows.append((piece_id, *result) if warns else (piece_id, result))
        if len(rows) == ROWS_AT_ONCE:
            made.append(_as_table(rows, names))
            rows = []
    whole = pa.concat_tables([*made, _as_table(rows, names)])
    table, rejected = outputs
    write_table(table, whole)
    write_rejected(rejected, refused)
    if warns:
        _log_warnings(stage, whole)
    close_step(
        stage,
        refused,
        rows_in=len(inputs),
        rows_out=len(whole),
        max_rejected_share=settings.max_rejected_share,
    )


def _as_table(rows: list[tuple], names: list[str]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table([pa.array(values, pa.string()) for values in columns], names=names)


def _log_warnings(stage: str, table: pa.Table) -> None:
    warned = table.filter(table["warning"].is_valid())
    if len(warned):
        first, warning = warned["id"][0], warned["warning"][0]
        log.info(
            "%s: %d faulty files were read, for example %s: %s", stage, len(warned), first, warning
        )


def _attempt(
    stage: str, piece_id: str, source: object, convert: Callable[[object], str | Warned]
) -> str | Warned | Rejected:
    """The text, or why there is none. No exception leaves, so that one piece stops no shard, but
    where files cannot be had at all: then no piece is at fault."""
    try:
        result = convert(source)
        text = result.text if isinstance(result, Warned) else result
        if not text.strip():
            raise FormatError("empty_piece", "nothing is left of it after conversion")
        text.encode("utf-8")
        return result
    except FormatError as error:
        return Rejected(piece_id, stage, error.kind, str(error))
    except DataError:  # a damaged archive, a place that does not answer
        raise
    except OSError as error:
        return Rejected(piece_id, stage, "unreadable_file", str(error))
    except Exception as error:
        log.exception("%s: %s cannot be converted; a fault of the program", stage, piece_id)
        return Rejected(piece_id, stage, "internal_error", format_exception_only(error)[-1].strip())
