"""What an index knows of each row: id, modality and field, and properties as lists of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.retrieval.labels import look_up, metadata_table, plain_word
from clamp3.retrieval.vectors import Vectors

if TYPE_CHECKING:
    import pandas as pd  # takes a third of a second, which a search need not wait for

ID, MODALITY, FIELD = KEY = ("id", "modality", "field")
WORDS = pa.list_(pa.string())
PropertyValues = dict[str, list[list[str] | None]]


def rows_schema(properties: Sequence[str]) -> pa.Schema:
    """The columns of rows with these properties."""
    fields = [(name, pa.string()) for name in KEY] + [(name, WORDS) for name in properties]
    return pa.schema(fields)


def rows_of(vectors: Vectors, properties: PropertyValues | None = None) -> pa.Table:
    """Id, modality, field, and the properties: those given, and further labels of the table."""
    count = len(vectors.ids)
    labels = vectors.labels
    modalities = labels.get(MODALITY, [vectors.origin.modality] * count)
    columns = {
        ID: pa.array(vectors.ids, pa.string()),
        MODALITY: pa.array(modalities, pa.string()),
        FIELD: pa.array(labels.get(FIELD, [None] * count), pa.string()),
    }
    known = {name: list(map(words, labels[name])) for name in labels if name not in KEY}
    for name, values in (known | (properties or {})).items():
        columns[name] = pa.array(values, WORDS)
    return pa.table(columns)


def keys_of_rows(rows: pa.Table) -> "pd.Index":
    """What tells rows apart: id, modality and field as one text each."""
    import pandas as pd

    parts = [pc.fill_null(rows.column(name), "") for name in KEY]
    joined = pc.binary_join_element_wise(*parts, "\0")
    return pd.Index(joined.to_numpy(zero_copy_only=False), dtype=object)


def words(value: object) -> list[str] | None:
    """A cell as a list of texts; None where it says nothing. 3.0 is 3, and True is true."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        found = [word for one in value for word in words(one) or ()]
        return found or None
    if value is None or isinstance(value, dict) or value != value:  # NaN
        return None
    if isinstance(value, bool):
        return [str(value).lower()]
    word = plain_word(value)
    return [word] if word else None


def told(value: list[str] | None) -> str | list[str] | None:
    """A property as it is shown: of a single text that."""
    return value[0] if value and len(value) == 1 else value


class Metadata:
    """What tables say of pieces, by their column id, file or path; the first table counts most."""

    def __init__(self, tables: Sequence[Path] = ()):
        self._tables = [_table(Path(path)) for path in tables]

    @property
    def properties(self) -> list[str]:
        """The columns that there are."""
        columns = [column for table, _ in self._tables for column in table.columns]
        return list(dict.fromkeys(column for column in columns if column not in KEY))

    def places(self, ids: Sequence[str]) -> list[np.ndarray]:
        """For each table the row of each id, -1 where it says nothing of it.

        Ids are matched by their full name, else by the name without the suffix of a music file.
        """
        return [
            np.array(
                [-1 if row is None else row - 1 for row in look_up(ids, known)], dtype=np.int64
            )
            for _, known in self._tables
        ]

    def values(self, places: Sequence[np.ndarray]) -> PropertyValues:
        """The properties of rows at these places."""
        found: PropertyValues = {}
        for (table, _), rows in zip(self._tables, places, strict=True):
            for name in table.columns:
                if name in KEY:
                    continue
                cells = table[name].to_numpy()
                own = [words(cells[row]) if row >= 0 else None for row in rows]
                before = found.get(name, [None] * len(rows))
                found[name] = [b or o for b, o in zip(before, own, strict=True)]
        return found


def _table(path: Path) -> tuple["pd.DataFrame", dict[str, int]]:
    """The table, and for each id the number of its first row, from 1."""
    table, name = metadata_table(path)
    table = table.astype(object).where(table.notna(), None)  # pandas has several ways to say so
    table.columns = [str(column) for column in table.columns]
    known: dict[str, int] = {}
    for number, key in enumerate(table[name].astype(str), start=1):
        known.setdefault(key, number)
    dropped = [column for column in table.columns if column == name or column == "embedding"]
    return table.drop(columns=dropped), known
