"""A CSV row by row or, if it is large, as columns of raw cells.

Broken rows are told apart from a file that is no such CSV. Quoted cells may hold commas, quotes and
line breaks.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from clamp3.data.sources import Row, guess_file, require_file
from clamp3.errors import DataError

_BLOCK_BYTES = 1 << 25  # no row is longer than this


class Cells(NamedTuple):
    """The cells of a CSV as they stand: `table[column][i]` stands in row `numbers[i]` of the file.

    Rows are counted as a spreadsheet does, the column names being row 1. `broken` holds the rows
    with too few or too many cells: their numbers and what is wrong.
    """

    table: pa.Table
    numbers: list[int]
    broken: list[tuple[int, str]]


def check_columns(path: Path, wanted: Sequence[str], what: str) -> list[str]:
    """The column names of a CSV; DataError that names those of `wanted` it lacks, and,
    where that are most, what the file may be instead. `what` is what was expected."""
    path = Path(path)
    require_file(path, what)
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as lines:
        try:
            columns = next(csv.reader(lines), [])
        except csv.Error:  # NUL bytes or one endless line: no CSV at all
            columns = []
    missing = [name for name in wanted if name not in columns]
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if missing[8:] else "")
        # Where most are there it is the right file, and only these are wrong.
        other = len(missing) > len(wanted) / 2
        guess = f". It looks like {guess_file(path)}" if other else ""
        raise DataError(f"{path}: not {what}: no column {shown}{guess}")
    twice = sorted({name for name in wanted if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}: two columns are called {', '.join(twice)}")
    return columns


def read_cells(path: Path, columns: list[str]) -> Cells:
    """All rows of a CSV with these columns (as `check_columns` gives them); empty lines go.

    A byte that is not UTF-8 becomes a NUL character, so that it spoils its cell and no other.
    Raises DataError for a quote that swallows the rows after it: what they hold would be lost.
    """
    broken, runaways = [], []

    def note_broken(row: pa.csv.InvalidRow) -> str:
        if row.text.count("\n") and row.text.count(",") >= 1.5 * len(columns):
            runaways.append(row.number)  # an exception would get lost in the reader
        count = f"{row.actual_columns} cells, expected {row.expected_columns}"
        broken.append((row.number, f"{count}: {row.text[:80]!r}"))
        return "skip"

    table = _read_table(path, columns, note_broken)
    if runaways:
        raise DataError(_runaway(path, runaways[0]))
    numbers = _numbers(table.num_rows, [number for number, _ in broken])
    _refuse_runaway(path, table, numbers)
    full = pc.invert(_is_empty(table))
    kept = [number for number, keep in zip(numbers, full.to_pylist(), strict=True) if keep]
    return Cells(table.filter(full), kept, broken)


def _read_table(
    path: Path, columns: list[str], note_broken: Callable[[pa.csv.InvalidRow], str]
) -> pa.Table:
    data = path.read_bytes()
    if not data.endswith(b"\n"):
        data += b"\n"  # names of columns alone are no table otherwise
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="surrogateescape")
        data = re.sub("[\udc80-\udcff]", "\0", text).encode("utf-8")
    try:
        return pa.csv.read_csv(
            pa.BufferReader(data),
            # One thread: only so do broken rows come with their numbers.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=note_broken,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: not readable as CSV ({error}). Perhaps a quote is opened and never closed"
        ) from error


def _numbers(count: int, broken: list[int]) -> list[int]:
    """The numbers of the sound rows: from 2 on, less those of the broken ones."""
    gaps = set(broken)
    return [number for number in range(2, 2 + count + len(gaps)) if number not in gaps]


def _is_empty(table: pa.Table) -> pa.Array:
    empty = pa.array([True] * table.num_rows, pa.bool_())
    for column in table.columns:
        empty = pc.and_(empty, pc.equal(column, ""))
    return empty


def _refuse_runaway(path: Path, table: pa.Table, numbers: list[int]) -> None:
    """A quote that is closed by one many rows later leaves the number of columns right."""
    for column in table.columns:
        for row in pc.indices_nonzero(pc.match_substring(column, "\n")).to_pylist():
            if column[row].as_py().count(",") >= table.num_columns / 2:
                raise DataError(_runaway(path, numbers[row]))


def _runaway(path: Path, number: int) -> str:
    return (
        f"{path}, row {number}: a quote is opened and not closed in this row, so the rows after "
        "it are read as part of it. Double or remove the quote"
    )


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
