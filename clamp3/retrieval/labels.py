"""Which label each embedding has: from a table, or from the originals' file names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from clamp3.errors import DataError
from clamp3.files import read_jsonl, read_table
from clamp3.formats.modality import FORMAT_BY_SUFFIX
from clamp3.retrieval.vectors import Vectors

if TYPE_CHECKING:
    import pandas as pd  # takes a third of a second, which a search need not wait for

ID_COLUMNS = ("id", "file", "path")
READERS = ".csv, .tsv, .jsonl or .parquet"
Value = TypeVar("Value")
SHOWN = 3  # ids of each side where none agree

Refused = list[tuple[str, str, str]]  # id, kind, reason


@dataclass(frozen=True)
class Labelled:
    """Embeddings that have a label each, and which rows were left out: (id, kind, reason)."""

    vectors: Vectors
    labels: list[str]
    refused: Refused = field(default_factory=list)

    def keep(self, wanted: Sequence[bool], kind: str, reason: str) -> "Labelled":
        """The rows that are wanted; `{}` in the reason stands for the label of a row left out."""
        kept = [row for row, good in enumerate(wanted) if good]
        out = [
            (self.vectors.ids[row], kind, reason.format(repr(self.labels[row])))
            for row, good in enumerate(wanted)
            if not good
        ]
        labels = [self.labels[row] for row in kept]
        return Labelled(self.vectors.take(kept), labels, [*self.refused, *out])


def with_labels(vectors: Vectors, table: Path | None, column: str = "label") -> Labelled:
    """The embeddings with their labels: of the table, or without one of the file names.

    Raises DataError where no embedding gets a label.
    """
    if table is None:
        found, why = [label_of_name(name) for name in vectors.ids], "its name is not label_name"
    else:
        known = read_labels(table, column)
        found, why = look_up(vectors.ids, known), f"no label in {table}"
    labelled = Labelled(vectors, [label or "" for label in found])
    labelled = labelled.keep([label is not None for label in found], "no_label", why)
    if not labelled.labels:
        here = ", ".join(map(repr, vectors.ids[:SHOWN]))
        there = f"; the table has such as {', '.join(map(repr, [*known][:SHOWN]))}" if table else ""
        raise DataError(f"none of the {len(vectors.ids)} embeddings has a label: {here}{there}")
    return labelled


def label_of_name(name: str) -> str | None:
    """The label in a file's name, `a/jazz_07.npy` → `jazz`: all before the first underscore.

    None where there is no underscore, or nothing before it.

    Source: sanderwood/clamp3@9016d2b classification/train_cls.py
    """
    label, underscore, _ = PurePosixPath(name).name.partition("_")
    return label if label and underscore else None


def read_labels(path: Path, column: str = "label") -> dict[str, str]:
    """The label of each id in a table with a column id, file or path; rows without one are none.

    Raises DataError for a missing column, or an id that has two labels.
    """
    table = label_table(Path(path))
    names = [name for name in ID_COLUMNS if name in table]
    if not names or column not in table:
        raise DataError(
            f"{path}: columns {', '.join(map(str, table))}; expected one of "
            f"{', '.join(ID_COLUMNS)}, and {column} (another column of labels: --label-column)"
        )
    rows = table[[names[0], column]].dropna()
    labels: dict[str, str] = {}
    for name, label in zip(rows[names[0]].astype(str), rows[column].map(plain_word), strict=True):
        if label and labels.setdefault(name, label) != label:
            raise DataError(f"{path}: {name} has two labels, {labels[name]!r} and {label!r}")
    return labels


def label_table(path: Path) -> "pd.DataFrame":
    """The table of a file; cells of text tables stay text. Raises DataError for another file."""
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path}: no such table of labels")
    ending = path.suffix.lower()
    if ending == ".parquet":
        return read_table(path).to_pandas()
    if ending == ".jsonl":
        return pd.DataFrame([row for _, row in read_jsonl(path)])
    if ending not in (".csv", ".tsv"):
        raise DataError(f"{path}: expected a table of labels ending in {READERS}")
    try:
        # All as text: a label "NA" or "007" stays what it is.
        return pd.read_csv(
            path,
            sep="\t" if ending == ".tsv" else ",",
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except (OSError, ValueError) as error:  # ValueError: pandas' own, and text that is no UTF-8
        raise DataError(f"{path}: not a readable table ({error})") from error


def metadata_table(path: Path) -> tuple["pd.DataFrame", str]:
    """A table, or all parts of a folder such as the catalogue, and which column says the ids.

    Raises DataError for a table that cannot be read, has no such column, or a folder without parts.
    """
    if path.is_dir():
        parts = sorted(path.glob("part-*.parquet"))
        if not parts:
            raise DataError(f"{path}: no part-*.parquet in it; expected a table or such a folder")
        table = read_table(parts).to_pandas()
    else:
        table = label_table(path)
    name = next((name for name in ID_COLUMNS if name in table), None)
    if name is None:
        raise DataError(
            f"{path}: columns {', '.join(map(str, table))}; expected one of {', '.join(ID_COLUMNS)}"
        )
    return table, name


def plain_word(value: object) -> str:
    """A cell as text; lists have none of their own, and 3.0 is 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def look_up(ids: Sequence[str], known: dict[str, Value]) -> list[Value | None]:
    """What is known of each id by its full name, else, where that is clear, by that without suffix.

    So a table may say `jazz/7.mid` where the embeddings say `jazz/7.mtf`, or `jazz/7`.
    """
    shared = Counter(_stem(name) for name in known)
    stems = {_stem(name): label for name, label in known.items() if shared[_stem(name)] == 1}
    return [known.get(name) or stems.get(name) or stems.get(_stem(name)) for name in ids]


def _stem(name: str) -> str:
    """The name without the suffix of a music file: `Op. 12` and `take.v2` have none."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in FORMAT_BY_SUFFIX else name
