"""Tables of embeddings: Parquet files that say which model made them."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import DataError
from clamp3.files import atomic_path, read_table

ROWS_PER_GROUP = 16384  # 48 MiB at width 768
ORIGIN = ("fingerprint", "space", "modality", "collection")
# Neither compressed nor with a dictionary, both of which only cost time on such numbers.
LAYOUT = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "write_page_checksum": True,
}
CONTENT = "sha256"  # the column with the hash of the file that a row was made from


@dataclass(frozen=True)
class Origin:
    """Where embeddings come from, kept in the file's schema metadata.

    `fingerprint`: of the model with its adapter; `space`: of the model alone: embeddings of one
    space can be compared; `modality`: text, abc, mtf or audio, or several, joined by commas.
    """

    fingerprint: str
    space: str
    modality: str
    collection: str


@dataclass(frozen=True)
class Vectors:
    """Embeddings [N, D] with their piece ids and, for each kind of label, a label a row.

    `labels` may hold `field` (which text of the piece) and `modality`. Several rows may share an
    id when a label tells them apart.
    """

    ids: list[str]
    embeddings: np.ndarray
    origin: Origin
    labels: dict[str, list[str]] = field(default_factory=dict)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Vectors":
        """The given rows, in the given order."""
        rows = np.asarray(rows, dtype=int)
        labels = {name: [values[r] for r in rows] for name, values in self.labels.items()}
        return replace(
            self, ids=[self.ids[r] for r in rows], embeddings=self.embeddings[rows], labels=labels
        )

    def of(self, ids: Container[str]) -> "Vectors":
        """The rows of these pieces."""
        return self.take([row for row, name in enumerate(self.ids) if name in ids])

    def labelled(self, kind: str, *wanted: str) -> "Vectors":
        """The rows whose label of this kind is one of those wanted."""
        chosen = set(wanted)
        return self.take([row for row, label in enumerate(self.labels[kind]) if label in chosen])


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows [N, D] scaled to length 1, in double precision; rows of zeros stay."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def manifest_name(path: Path) -> tuple[str, str, str]:
    """Collection, modality and split of a manifest, from its name <c>-<m>-<s>.jsonl.

    Tables are named after them: <collection>/<modality>.parquet. Raises DataError for another
    name.
    """
    parts = Path(path).stem.rsplit("-", 2)
    if len(parts) != 3:
        raise DataError(f"{path}: expected a name like pdmx-abc-test.jsonl")
    return parts[0], parts[1], parts[2]


def first_table(folders: Sequence[Path], collection: str, name: str) -> Path | None:
    """<collection>/<name>.parquet in the first of the folders that has it."""
    paths = (Path(folder) / collection / f"{name}.parquet" for folder in folders)
    return next((path for path in paths if path.exists()), None)


def write_vectors(path: Path, vectors: Vectors) -> None:
    """Write columns id, one for each label, and embedding: fixed_size_list<float32>[D].

    The bytes depend on the content alone.
    """
    flat = np.ascontiguousarray(vectors.embeddings, dtype=np.float32)
    columns = {"id": pa.array(vectors.ids, pa.string())}
    columns |= {name: pa.array(label, pa.string()) for name, label in vectors.labels.items()}
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    metadata = {name: getattr(vectors.origin, name) for name in ORIGIN}
    with atomic_path(path) as draft:
        pq.write_table(
            pa.table(columns).replace_schema_metadata(metadata),
            draft,
            row_group_size=ROWS_PER_GROUP,
            **LAYOUT,
        )


def read_vectors(path: Path) -> Vectors:
    """The embeddings of one file.

    Raises DataError for a file that is no table of embeddings, for a cell without a value and for
    numbers that are not finite.
    """
    return vectors_of(path, read_table(path))


def vectors_of(path: Path, table: pa.Table) -> Vectors:
    """The embeddings in rows read from the file of that name; raises DataError as `read_vectors`.

    `table` is all of the file, or some of its rows.
    """
    metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    missing = [name for name in ORIGIN if name not in metadata]
    if missing or not {"id", "embedding"} <= set(table.column_names):
        raise DataError(
            f"{path}: not a table of embeddings (columns {', '.join(table.column_names)}; no "
            f"{', '.join(missing) or 'id or embedding'}); `clamp3 embed` writes such tables"
        )
    column = table.column("embedding").combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        raise DataError(
            f"{path}: holds temporal features, not one vector for each piece; embed without "
            "--temporal"
        )
    if any(table.column(name).null_count for name in table.column_names):
        raise DataError(f"{path}: a row without a value; the file must be made again")
    matrix = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    if not np.isfinite(matrix).all():
        raise DataError(f"{path}: embeddings hold NaN or infinity; the file must be made again")
    labels = {
        name: table.column(name).to_pylist()
        for name in table.column_names
        if name not in ("id", "embedding", CONTENT)
    }
    origin = Origin(**{name: metadata[name] for name in ORIGIN})
    return Vectors(table.column("id").to_pylist(), matrix, origin, labels)


def refuse_two_models(first: Vectors, second: Vectors) -> None:
    """Raise DataError where the two are known to be of different models, or differ in width.

    Files of the originals' layout do not say which model made them.
    """
    spaces = {vectors.origin.space for vectors in (first, second)} - {""}
    if len(spaces) > 1:
        one, other = (v.origin.space[:16] for v in (first, second))
        raise DataError(
            f"embeddings of model {one} and of model {other} cannot be compared; embed both sides "
            "with one model"
        )
    widths = first.embeddings.shape[1], second.embeddings.shape[1]
    if widths[0] != widths[1]:
        raise DataError(
            f"embeddings are {widths[0]} wide on one side and {widths[1]} on the other: expected "
            "the same width (vectors of two different models?)"
        )
