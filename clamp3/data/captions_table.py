"""A CSV of captions, row by row: quoted cells may hold commas, quotes and line breaks."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from clamp3.data.csv_table import check_columns
from clamp3.data.sources import Row
from clamp3.errors import DataError


def table_rows(path: Path, wanted: Sequence[str], what: str) -> Iterator[Row]:
    """(`row 2`, {column: cell}) of each row that is not empty, or what is wrong with it.

    Rows are counted as a spreadsheet does, the column names being row 1. `wanted` are the columns
    it must have, `what` is what was expected. Raises DataError for another file at once, and on
    the way for a faulty row over several lines: a quote that is not closed swallows the rows after
    it, and what they hold would be lost.
    """
    return _rows(path, check_columns(path, wanted, what))


def _rows(path: Path, columns: list[str]) -> Iterator[Row]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)
        next(rows)
        number, before = 1, rows.line_num
        while (row := _next_row(rows)) is not None:
            number += 1
            lines, before = rows.line_num - before, rows.line_num
            if not row:
                continue
            cells = _cells(columns, row)
            if isinstance(cells, str) and lines > 1:
                raise DataError(
                    f"{path}, row {number}: {cells}. A quote may be opened and not closed in this "
                    f"row, so that the {lines - 1} lines after it are read as part of it: double "
                    "or remove the quote"
                )
            yield f"row {number}", cells


def _next_row(rows: Iterator[list[str]]) -> list[str] | str | None:
    """The cells of a row, what is wrong with it, or None at the end."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return f"not readable as CSV ({error})"


def _cells(columns: list[str], row: list[str] | str) -> dict[str, str] | str:
    if isinstance(row, str):
        return row
    if len(row) != len(columns):
        return f"{len(row)} cells, expected {len(columns)}: {','.join(row)[:80]!r}"
    try:
        "".join(row).encode("utf-8")
    except UnicodeEncodeError:
        return "not UTF-8"
    return dict(zip(columns, row, strict=True))
