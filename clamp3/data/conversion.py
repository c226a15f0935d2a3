"""One shard, piece by piece, through a converter: the table, the rejected table, the books.

Whatever is wrong with a piece costs that piece alone: it becomes a row of the rejected table, and
the others go on. Which converter is in `scores`, `interleaving` and `performances`, apart, so that
a change of one format's code concerns that format's stage alone.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from traceback import format_exception_only

import pyarrow as pa

from clamp3.config import ConversionConfig
from clamp3.data.rejected import Rejected, close_step, write_rejected
from clamp3.errors import FormatError
from clamp3.files import write_table
from clamp3.logs import progress

log = logging.getLogger(__name__)


def existing_file(path: str) -> Path:
    """The path of a file that is there and not empty; FormatError for others."""
    file = Path(path)
    if not file.exists():
        raise FormatError("missing_file", f"{path}: no such file")
    if not file.is_file():
        raise FormatError("missing_file", f"{path}: not a file")
    if file.stat().st_size == 0:
        raise FormatError("empty_file", f"{path}: empty")
    return file


def convert_pieces(
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
