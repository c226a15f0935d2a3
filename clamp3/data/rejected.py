"""What a batch step could not use: one row per rejected piece, and the balance of the step."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from clamp3.errors import DataError
from clamp3.files import read_table, write_table

log = logging.getLogger(__name__)

SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "stage", "kind", "reason")])


class Rejected(NamedTuple):
    """One rejected piece.

    `id` is the piece's, or says where it stood when it has none (`pdmx/row 17`). `stage` is the
    step that refused it, `kind` a short stable name, `reason` a sentence for people.
    """

    id: str
    stage: str
    kind: str
    reason: str


def write_rejected(path: Path, rows: Iterable[Rejected]) -> None:
    """Write the rows, sorted, as a Parquet table with the columns of `SCHEMA`."""
    ordered = sorted(rows)
    columns = {name: [writable(getattr(row, name)) for row in ordered] for name in SCHEMA.names}
    write_table(path, pa.table(columns, schema=SCHEMA), dictionary=("stage", "kind"))


def writable(text: str) -> str:
    """The text without what UTF-8 cannot hold: reasons quote damaged files."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_rejected(paths: Path | Iterable[Path]) -> list[Rejected]:
    """All rows of one or several rejected tables, in the order given; no table, no rows."""
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        return []
    columns = read_table(paths, columns=SCHEMA.names).select(SCHEMA.names)
    return [Rejected(*row) for row in zip(*(c.to_pylist() for c in columns.columns), strict=True)]


def close_step(
    step: str,
    rejected: list[Rejected],
    *,
    rows_in: int,
    rows_out: int,
    max_rejected_share: float,
    left_out: int = 0,
) -> None:
    """Log `abc: 155 in, 154 out, 1 rejected` and check the balance of a step.

    Rows that were `left_out` on purpose are counted apart (`, 20 left out`). Call it when
    both tables are written. Raises DataError when rows are unaccounted for, or when more than
    `max_rejected_share` of those not left out were rejected.
    """
    line = f"{step}: {rows_in} in, {rows_out} out, {len(rejected)} rejected"
    line += f", {left_out} left out" if left_out else ""
    log.info("%s", line)
    lost = rows_in - rows_out - len(rejected) - left_out
    if lost:
        raise DataError(f"{line}: {lost} unaccounted for; a fault of the program")
    used = rows_in - left_out
    if len(rejected) > max_rejected_share * used:
        raise DataError(
            f"{line}: {len(rejected) / used:.1%} rejected, at most {max_rejected_share:.1%} "
            f"allowed (max_rejected_share). {summary(rejected)}"
        )


def summary(rejected: list[Rejected]) -> str:
    """A sentence with the kinds, most frequent first, and one example."""
    if not rejected:
        return "Nothing was rejected."
    counts = Counter(row.kind for row in rejected)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    example = min(row for row in rejected if row.kind == ordered[0][0])
    kinds = ", ".join(f"{kind}: {count}" for kind, count in ordered)
    return f"Kinds: {kinds}. For example {example.id}: {example.reason}"
