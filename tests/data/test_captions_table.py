"""Tables of captions: quotes, line breaks, broken rows, and quotes that swallow rows."""

import pytest

from clamp3.data.captions_table import table_rows
from clamp3.errors import DataError

HEAD = "id,caption,tags\n"


@pytest.fixture
def rows(tmp_path):
    def run(text, wanted=("id", "caption")):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "t.csv").write_bytes(content)
        return list(table_rows(tmp_path / "t.csv", wanted, "a table"))

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
def test_a_quote_that_swallows_rows_is_an_error(rows, end):
    with pytest.raises(DataError, match=r"t\.csv, row 3: .*A quote may be opened and not closed"):
        rows(HEAD + 'a,one,x\nb,"four,x\nc,six,x\n' + end)


def test_another_table_is_an_error_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("name;age\n")
    with pytest.raises(DataError, match="not a table: no column id, caption"):
        table_rows(tmp_path / "t.csv", ("id", "caption"), "a table")
