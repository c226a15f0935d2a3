"""Cells come back as they stand, bad rows with their numbers, and no row vanishes."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import put

from clamp3.data.csv_table import check_columns, read_cells, table_rows
from clamp3.errors import DataError

NAMES = ["a", "b", "c"]


def read(tmp_path, text):
    path = put(tmp_path, "t.csv", text)
    return read_cells(path, check_columns(path, NAMES, "a table"))


def rows_of(cells):
    return list(zip(*(cells.table[name].to_pylist() for name in NAMES), strict=True))


def test_rows_have_the_numbers_of_a_spreadsheet(tmp_path):
    cells = read(tmp_path, "a,b,c\n1,2,3\n\n4,5\n6,7,8\n9,10,11,12\n13,14,15")
    assert rows_of(cells) == [("1", "2", "3"), ("6", "7", "8"), ("13", "14", "15")]
    assert cells.numbers == [2, 5, 7]
    assert [number for number, _ in cells.broken] == [4, 6]
    assert cells.broken[0][1] == "2 cells, expected 3: '4,5'"


@pytest.mark.parametrize("text", ["a,b,c\n", "a,b,c\n\n\n", "a,b,c"])
def test_a_table_without_rows(tmp_path, text):
    cells = read(tmp_path, text)
    assert rows_of(cells) == []
    assert cells.numbers == cells.broken == []


def test_line_ends_quotes_and_byte_order_mark(tmp_path):
    cells = read(tmp_path, '\ufeffa,b,c\r\n1,"x\ny, ""z""",3\r\n4,say "hi",6\r\n')
    assert rows_of(cells) == [("1", 'x\ny, "z"', "3"), ("4", 'say "hi"', "6")]


def test_columns_in_any_order_and_more_of_them(tmp_path):
    assert rows_of(read(tmp_path, "x,c,b,a\n0,3,2,1\n")) == [("1", "2", "3")]


def test_bytes_that_are_not_utf8_spoil_their_cell_only(tmp_path):
    cells = read(tmp_path, b"a,b,c\n1,\xe9t\xc3\xa9,3\n4,\xe9\n\xf0\x9f\x8e\xb5,5,6\n")
    assert rows_of(cells) == [("1", "\0té", "3"), ("🎵", "5", "6")]
    assert cells.broken == [(3, "2 cells, expected 3: '4,\\x00'")]


# Quotes in the middle of a cell are literal; read by Python's csv they would not be.
cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(cells, cells, cells.filter(bool)), max_size=8))
def test_what_csv_writes_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "h.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])
    try:
        found = read_cells(path, NAMES)
    except DataError:
        assert any("\n" in cell and "," in cell for row in rows for cell in row)
    else:
        assert rows_of(found) == rows


@pytest.mark.parametrize(
    "text",
    [
        'a,b,c\n1,"x,3\n4,5,6\n7,8,9\n',  # to the end of the file
        'a,b,c\n1,"x,3\n4,5,6\n7,"y",9\n1,2,3\n',  # to the next quote, columns right by chance
        'a,b,c\n"1,2,3\n4,5,6\n7,8",9\n',  # to the next quote, too few columns
    ],
)
def test_a_quote_that_swallows_rows_is_an_error(tmp_path, text):
    with pytest.raises(DataError, match="row 2: a quote is opened and not closed"):
        read(tmp_path, text)


def test_a_quote_left_open_in_the_last_row_is_a_broken_row(tmp_path):
    read_rows = read(tmp_path, 'a,b,c\n1,2,3\n4,"x')
    assert rows_of(read_rows) == [("1", "2", "3")]
    assert read_rows.broken == [(3, "2 cells, expected 3: '4,\"x'")]


def test_missing_columns_are_named_with_a_guess(tmp_path):
    with pytest.raises(DataError, match=r"not a table: no column b, c\. It looks like"):
        read(tmp_path, "a,x\n1,2\n")
    with pytest.raises(DataError, match="semicolons"):
        read(tmp_path, "a;b;c\n1;2;3\n")


def test_many_missing_columns_are_counted(tmp_path):
    (tmp_path / "t.csv").write_text("x\n")
    with pytest.raises(DataError, match="n7 and 12 more"):
        check_columns(tmp_path / "t.csv", [f"n{number}" for number in range(20)], "a table")


def test_a_column_that_stands_twice_is_an_error(tmp_path):
    with pytest.raises(DataError, match="two columns are called b"):
        read(tmp_path, "a,b,c,b\n1,2,3,4\n")


@pytest.mark.parametrize("content", [b"\0" * 50, b"\xff\xfea\0,\0", b"PK\x03\x04\0\0"])
def test_what_is_no_text_is_an_error(tmp_path, content):
    with pytest.raises(DataError, match="not a table"):
        read(tmp_path, content)


# Row by row

HEAD = "id,caption,tags\n"


@pytest.fixture
def rows(tmp_path):
    def run(text):
        return list(table_rows(put(tmp_path, "t.csv", text), ("id", "caption"), "a table"))

    return run


def test_rows_and_their_numbers(rows):
    text = HEAD + 'a,"one, ""two""\nthree",x\n\nb,four,\n'
    for newline in ("\n", "\r\n"):
        for start in ("", "\ufeff"):
            assert rows(start + text.replace("\n", newline)) == [
                ("row 2", {"id": "a", "caption": f'one, "two"{newline}three', "tags": "x"}),
                ("row 4", {"id": "b", "caption": "four", "tags": ""}),
            ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"b,four", "2 cells, expected 3: 'b,four'"),
        (b"b,four,x,y", "4 cells, expected 3"),
        (b"b,\xe9t\xe9,x", "not UTF-8"),
        (b'b,"four"five,x', "not readable as CSV"),
    ],
)
def test_a_broken_row_costs_itself(rows, row, reason):
    found = rows(HEAD.encode() + b"a,one,x\n" + row + b"\nc,six,x\n")
    assert [place for place, _ in found] == ["row 2", "row 3", "row 4"]
    assert reason in found[1][1]
    assert found[2][1] == {"id": "c", "caption": "six", "tags": "x"}


@pytest.mark.parametrize("end", ["", 'd,"seven",x\n'])
def test_a_quote_that_swallows_rows_is_an_error_here_too(rows, end):
    with pytest.raises(DataError, match=r"t\.csv, row 3: .*A quote may be opened and not closed"):
        rows(HEAD + 'a,one,x\nb,"four,x\nc,six,x\n' + end)


def test_another_table_is_an_error_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("name;age\n")
    with pytest.raises(DataError, match="not a table: no column id, caption"):
        table_rows(tmp_path / "t.csv", ("id", "caption"), "a table")
