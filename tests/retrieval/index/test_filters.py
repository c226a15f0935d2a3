"""Conditions on what is known of pieces."""

import pyarrow as pa
import pytest

from clamp3.errors import ConfigError
from clamp3.retrieval.index.filters import Condition, matching, parse_condition, refuse_unknown
from clamp3.retrieval.index.rows import WORDS, words

ROWS = pa.table(
    {
        "id": pa.array(["a", "B", "c", "d"]),
        "genre": pa.array([["Jig"], ["reel"], None, ["slow jig"]], WORDS),
        "year": pa.array([["1899"], ["1900.0"], ["c. 1905"], ["2001"]], WORDS),
        "tags": pa.array([["fiddle", "Ä"], ["flute"], [], ["fiddle"]], WORDS),
        "born": pa.array([["1900-01-31"], ["1999-12-01"], None, ["2000-01-01"]], WORDS),
    }
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("genre=jig", "a"),
        ("genre=JIG", "a"),
        ("genre = slow jig", "d"),
        ("genre!=jig", "Bcd"),
        ("genre=", "c"),
        ("genre!=", "aBd"),
        ("year>=1900", "Bd"),
        ("year>1900", "d"),
        ("year<1900", "a"),
        ("year<=1900", "aB"),
        ("year=1900", "B"),
        ("year!=1900", "acd"),
        ("tags=fiddle", "ad"),
        ("tags=ä", "a"),
        ("tags!=fiddle", "Bc"),
        ("tags=", "c"),
        ("born>=1999-12-01", "Bd"),
        ("id=b", "B"),
        ("elsewhere=x", ""),
        ("elsewhere!=x", "aBcd"),
    ],
)
def test_conditions_choose_rows(text: str, found: str):
    chosen = matching(ROWS, [parse_condition(text)])
    assert "".join(ROWS.column("id").filter(pa.array(chosen)).to_pylist()) == found


def test_all_conditions_have_to_hold_and_chunks_change_nothing():
    conditions = [parse_condition("tags=fiddle"), parse_condition("year>=1900")]
    chunks = pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1, 2), ROWS.slice(3)])
    for rows in (ROWS, chunks):
        assert matching(rows, conditions).tolist() == [False, False, False, True]
    assert matching(ROWS.slice(2), conditions).tolist() == [False, True]
    assert matching(ROWS.slice(0, 0), conditions).tolist() == []


def test_a_condition_says_its_parts():
    assert parse_condition("a b>=x = y") == Condition("a b", ">=", "x = y")
    for text in ("genre", "=jig", "year>=", "", "genre~jig"):
        with pytest.raises(ConfigError, match="such as genre=jig"):
            parse_condition(text)
    with pytest.raises(ConfigError, match="'gnre'; known: genre, id"):
        refuse_unknown([parse_condition("gnre=jig")], ["id", "genre"])


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("jig", ["jig"]),
        (" ", None),
        (3.0, ["3"]),
        (float("nan"), None),
        (["a", None, "b"], ["a", "b"]),
        ([], None),
        ({"de": "x"}, None),
        (True, ["true"]),
        (None, None),
    ],
)
def test_cells_become_lists_of_texts(cell: object, told: list[str] | None):
    assert words(cell) == told
