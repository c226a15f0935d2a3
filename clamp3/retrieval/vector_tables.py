"""Tables of embeddings, read a part at a time: a large one need not fit into memory."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import DataError
from clamp3.files import read_table
from clamp3.retrieval.embedding.npy_output import JOURNAL, read_npy_tree
from clamp3.retrieval.index.rows import KEY, rows_of
from clamp3.retrieval.vectors import CONTENT, Origin, Vectors, read_vectors, vectors_of


def vector_tables(source: Path) -> list["VectorTable | VectorTree"]:
    """What holds embeddings: a file, all tables in a folder, a tree of `clamp3 embed`; in order.

    None in a folder without any. Raises DataError where there is no such file or folder.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.is_file():
        return [VectorTable(source)]
    found: list[VectorTable | VectorTree] = [
        VectorTable(path)
        for path in sorted(source.rglob("*.parquet"))
        if "embedding" in _schema(path).names
    ]
    return [*found, VectorTree(source)] if (source / JOURNAL).is_file() else found


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


class VectorTable:
    """A Parquet file of embeddings. Raises DataError where it is none."""

    def __init__(self, path: Path):
        self.path = path
        empty = _schema(path).empty_table()
        first = vectors_of(path, empty)
        self.origin: Origin = first.origin
        self.width: int = first.embeddings.shape[1]
        self.properties = [n for n in empty.column_names if n not in (*KEY, "embedding", CONTENT)]

    def keys(self) -> pa.Table:
        """Id, modality and field of all rows."""
        names = [name for name in KEY if name in _schema(self.path).names]
        table = read_table(self.path, names)
        labels = {name: table.column(name).to_pylist() for name in names if name != "id"}
        ids = table.column("id").to_pylist()
        return rows_of(Vectors(ids, None, self.origin, labels))

    def batches(self) -> Iterator[Vectors]:
        """All rows, some thousand at a time."""
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                for group in range(file.num_row_groups):
                    yield vectors_of(self.path, file.read_row_group(group))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path}: not a readable Parquet file ({error})") from error

    def read(self) -> Vectors:
        """All rows in memory."""
        return read_vectors(self.path)


class VectorTree:
    """A folder of .npy files that `clamp3 embed` wrote, used as a VectorTable; all in memory."""

    def __init__(self, path: Path):
        self.path = path
        self._vectors = read_npy_tree(path)
        self.origin = self._vectors.origin
        self.width = self._vectors.embeddings.shape[1]
        self.properties: list[str] = []

    def keys(self) -> pa.Table:
        return rows_of(self._vectors)

    def batches(self) -> Iterator[Vectors]:
        yield self._vectors

    def read(self) -> Vectors:
        return self._vectors
