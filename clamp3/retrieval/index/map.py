"""A map of an index: where each row lies on two axes, so that a page can draw it.

The axes are made when the index is built, and stay: rows that are added later get places too.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from clamp3.files import read_table, write_table
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.rows import ID, MODALITY
from clamp3.retrieval.index.segment import OpenSegment
from clamp3.retrieval.index.store import MAP, Beside, Manifest, beside
from clamp3.retrieval.space.maps import sample_rows, without_group_means
from clamp3.retrieval.vectors import unit_rows

MOST_ROWS = 20_000  # that the axes are made of
ROWS_PER_BLOCK = 8192
AXES = ("x", "y")
POINTS = pa.schema(
    [(ID, pa.string()), (MODALITY, pa.string()), *((axis, pa.float32()) for axis in AXES)]
)


def index_map(index_folder: str | Path, most: int | None = None) -> pa.Table:
    """The points of all rows that count: id, modality, x and y in [0, 1]; sorted by id.

    Of more than `most` rows as many, chosen by their ids. Empty where the index has no map.

    Raises DataError where there is no index.
    """
    index = open_index(index_folder)
    if index.manifest.map is None:
        return POINTS.empty_table()
    projection = Projection.read(index.folder / index.manifest.map.name)
    parts = [(segment, segment.rows_allowed()) for segment in index.segments]
    ids = [name for segment, rows in parts for name in segment.rows[ID].take(rows).to_pylist()]
    kept = np.arange(len(ids)) if most is None else np.array(sample_rows(ids, most), dtype=int)
    found, start = [POINTS.empty_table()], 0
    for segment, rows in parts:
        own = kept[(kept >= start) & (kept < start + len(rows))] - start
        found.append(_points(segment, rows[own], projection))
        start += len(rows)
    return pa.concat_tables(found).sort_by([(ID, "ascending"), (MODALITY, "ascending")])


def write_map(folder: Path, manifest: Manifest) -> Beside:
    """Make the axes for the rows of an index that is about to have this manifest."""
    segments = [OpenSegment(folder, entry, manifest.width) for entry in manifest.segments]
    path = Path(folder) / f"{MAP}{manifest.generation:06d}.parquet"
    with threadpool_limits(1):  # sums of several threads come in any order
        Projection.of(segments).write(path)
    return beside(path)


@dataclass(frozen=True)
class Projection:
    """From vectors to places: `axes` [2, D], what they are `lowest` and `highest` of [2].

    `means`: of the unit vectors of each modality [D], which are taken off first, or the distances
    between modalities would fill the map.
    """

    axes: np.ndarray
    means: dict[str, np.ndarray]
    lowest: np.ndarray
    highest: np.ndarray

    @classmethod
    def of(cls, segments: list[OpenSegment]) -> "Projection":
        """The principal axes of the segments' rows, or of some of them, chosen by their ids."""
        ids = [name for segment in segments for name in segment.rows[ID].to_pylist()]
        chosen = np.array(sample_rows(ids, MOST_ROWS), dtype=int)
        vectors, modalities, start = [], [], 0
        for segment in segments:
            rows = chosen[(chosen >= start) & (chosen < start + segment.entry.rows)] - start
            vectors.append(unit_rows(segment.vectors[rows]))
            modalities += _modalities(segment, rows)
            start += segment.entry.rows
        unit, groups = np.concatenate(vectors), np.array(modalities)
        means = {name: unit[groups == name].mean(axis=0) for name in sorted(set(modalities))}
        axes = _principal_axes(without_group_means(unit, modalities))
        places = np.stack([row - means[m] for row, m in zip(unit, groups, strict=True)]) @ axes.T
        return cls(axes, means, places.min(axis=0), places.max(axis=0))

    def places(self, vectors: np.ndarray, modalities: list[str]) -> np.ndarray:
        """Places [N, 2] in [0, 1] of vectors [N, D]; what lies further out is put on the edge."""
        middle = np.mean(list(self.means.values()), axis=0)  # of modalities that came later
        centred = unit_rows(vectors)
        groups = np.array(modalities)
        for name in sorted(set(modalities)):
            centred[groups == name] -= self.means.get(name, middle)
        widths = self.highest - self.lowest
        shares = (centred @ self.axes.T - self.lowest) / np.where(widths > 0, widths, 1.0)
        return np.clip(np.where(widths > 0, shares, 0.5), 0.0, 1.0)

    def write(self, path: Path) -> None:
        """Write a table: a row an axis, and one for each mean."""
        means = [{"name": f"mean {m}", "vector": v} for m, v in self.means.items()]
        lines = [
            {"name": name, "vector": axis, "lowest": low, "highest": high}
            for name, axis, low, high in zip(
                AXES, self.axes, self.lowest, self.highest, strict=True
            )
        ]
        fields = [("name", pa.string()), ("vector", pa.list_(pa.float64()))]
        schema = pa.schema([*fields, ("lowest", pa.float64()), ("highest", pa.float64())])
        write_table(path, pa.Table.from_pylist([*lines, *means], schema=schema))

    @classmethod
    def read(cls, path: Path) -> "Projection":
        """What was written. Raises DataError where the file is damaged."""
        lines = {line["name"]: line for line in read_table(path).to_pylist()}
        means = {
            name.removeprefix("mean "): np.array(line["vector"])
            for name, line in lines.items()
            if name not in AXES
        }
        axes, lowest, highest = (
            np.array([lines[axis][what] for axis in AXES])
            for what in ("vector", "lowest", "highest")
        )
        return cls(axes, means, lowest, highest)


def _principal_axes(centred: np.ndarray) -> np.ndarray:
    """The two directions [2, D] of most variance of rows [N, D]; the largest weight is positive.

    Of the products of columns: with many rows far faster than `principal_map`.
    """
    _, found = np.linalg.eigh(centred.T @ centred)
    axes = np.zeros((2, centred.shape[1]))
    for number, axis in enumerate(found.T[::-1][:2]):
        axes[number] = axis * (np.sign(axis[np.argmax(np.abs(axis))]) or 1.0)
    return axes


def _modalities(segment: OpenSegment, rows: np.ndarray) -> list[str]:
    return [name or "" for name in segment.rows[MODALITY].take(rows).to_pylist()]


def _points(segment: OpenSegment, rows: np.ndarray, projection: Projection) -> pa.Table:
    modalities = _modalities(segment, rows)
    blocks = [np.empty((0, 2))]
    for start in range(0, len(rows), ROWS_PER_BLOCK):
        part = slice(start, start + ROWS_PER_BLOCK)
        blocks.append(projection.places(segment.vectors[rows[part]], modalities[part]))
    x, y = np.concatenate(blocks).astype(np.float32).T
    columns = [segment.rows[ID].take(rows), pa.array(modalities, pa.string()), x, y]
    return pa.table(columns, schema=POINTS)
