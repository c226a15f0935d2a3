"""Conditions on what is known of pieces: `genre=jig`, `year>=1900`, `tags=fiddle`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.errors import ConfigError

OPERATORS = ("!=", ">=", "<=", "=", ">", "<")
_FORM = re.compile("([^<>=!]+)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A property, one of `OPERATORS`, and a value as text."""

    column: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{self.value}"


def parse_condition(text: str) -> Condition:
    """The condition that a text such as `genre=jig` states. Raises ConfigError for another form."""
    found = _FORM.fullmatch(text)
    # Blanks are left to strip(): a pattern that looks for them takes for ever over many.
    column, operator, value = map(str.strip, found.groups()) if found else ("", "", "")
    if not column or (operator not in ("=", "!=") and not value):
        raise ConfigError(
            f"--where {text!r}: expected a property, one of {' '.join(OPERATORS)} and a value, "
            "such as genre=jig or year>=1900"
        )
    return Condition(column, operator, value)


def parse_conditions(where: Sequence[str | Condition]) -> tuple[Condition, ...]:
    """Texts as conditions, all of which have to hold."""
    return tuple(parse_condition(one) if isinstance(one, str) else one for one in where)


def matching(rows: pa.Table, conditions: Sequence[Condition]) -> np.ndarray:
    """For each row [N] whether all conditions hold; columns are text or lists of texts.

    A list is equal to a value that it contains, and unequal to one that it does not; `<` and the
    like hold where they do for any entry. Equality is blind to case, and to how a number is
    written (`3` is `3.0`). Beside a number, `<` and the like compare numbers, and hold for no other
    text; beside other text they compare texts, such as dates. `genre=` asks for rows without a
    value, `genre!=` for those with one. A column that does not exist is empty.
    """
    wanted = np.ones(len(rows), dtype=bool)
    for condition in conditions:
        known = condition.column in rows.column_names
        empty = pa.chunked_array([pa.nulls(len(rows), pa.string())])
        wanted &= _matching(rows.column(condition.column) if known else empty, condition)
    return wanted


def refuse_unknown(conditions: Sequence[Condition], known: Sequence[str]) -> None:
    """Raise ConfigError for a condition on what no row knows."""
    for condition in conditions:
        if condition.column not in known:
            raise ConfigError(
                f"--where {condition}: nothing is known of {condition.column!r}; known: "
                f"{', '.join(sorted(known))}"
            )


def _matching(column: pa.ChunkedArray, condition: Condition) -> np.ndarray:
    rows, values = _entries(column)
    any_holds = np.zeros(len(column), dtype=bool)
    negated = condition.operator == "!="
    if not condition.value:
        any_holds[rows] = True  # has a value
        return any_holds if negated else ~any_holds
    coded = values.dictionary_encode()  # most values are those of many rows
    holds = _holds(coded.dictionary, condition)
    any_holds[rows[holds[coded.indices.to_numpy()]]] = True
    return ~any_holds if negated else any_holds


def _entries(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """All texts of a column, and the row of each."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], pa.string())
    if pa.types.is_list(whole.type):
        return pc.list_parent_indices(whole).to_numpy(), pc.list_flatten(whole)
    rows = np.flatnonzero(pc.is_valid(whole).to_numpy(zero_copy_only=False))
    return rows, whole.drop_null()


def _holds(values: pa.Array, condition: Condition) -> np.ndarray:
    number = _number(condition.value)
    if condition.operator in ("=", "!="):
        same = pc.equal(pc.utf8_lower(values), pc.utf8_lower(pa.scalar(condition.value)))
        found = same.to_numpy(zero_copy_only=False).astype(bool)
        return found if number is None else found | (_numbers(values) == number)
    left, right = (
        (values.to_numpy(zero_copy_only=False), condition.value)
        if number is None
        else (_numbers(values), number)
    )
    compare = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}
    return compare[condition.operator](left, right).astype(bool)


def _numbers(values: pa.Array) -> np.ndarray:
    """The values as numbers, NaN where they are none."""
    import pandas as pd  # takes a third of a second, which most searches need not wait for

    texts = pd.Series(values.to_numpy(zero_copy_only=False), dtype=object)
    return pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None
