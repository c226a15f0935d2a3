"""An index of embeddings: a folder that answers queries exactly, and fast to millions of rows.

The tables of `clamp3 embed` remain the record; an index is made from them and can be made again.
A scan of float16 vectors finds every row that rounding leaves a chance; those are compared again
in double precision, so results are those of brute force (see `half_scan`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.index.filters import Condition, parse_conditions, refuse_unknown
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.rows import KEY, MODALITY
from clamp3.retrieval.index.segment import OpenSegment
from clamp3.retrieval.index.store import (
    REBUILD,
    Beside,
    Manifest,
    check_content,
    check_size,
    read_manifest,
)
from clamp3.retrieval.vectors import Origin, Vectors

MOST_PRODUCTS = 2**25  # in memory at once: 128 MiB


def open_index(folder: str | Path) -> "Index":
    """The index of a folder as it is now; what is written to it later does not change it.

    Raises DataError where there is none, or its files are damaged.
    """
    folder = Path(folder)
    while True:
        manifest = read_manifest(folder)
        try:
            return Index(folder, manifest)
        except FileNotFoundError as error:
            # A writer may have replaced the files since the manifest was read.
            if read_manifest(folder) == manifest:
                raise DataError(f"{error.filename}: missing; {REBUILD}") from error


class Index:
    """An open index; see `open_index`. Several threads may search it."""

    def __init__(self, folder: Path, manifest: Manifest):
        self.folder = folder
        self.manifest = manifest
        self.segments = [OpenSegment(folder, s, manifest.width) for s in manifest.segments]
        for path, entry in self._beside():
            check_size(path, entry)

    def __len__(self) -> int:
        return sum(segment.live for segment in self.manifest.segments)

    @property
    def space(self) -> str:
        """The fingerprint of the model that all vectors are of."""
        return self.manifest.space

    @property
    def properties(self) -> list[str]:
        """What rows can be filtered by beside id, modality and field."""
        names = {name for segment in self.segments for name in segment.rows.column_names}
        return sorted(names - set(KEY))

    def newest(self) -> "Index":
        """This index, or if it has been written to since, the one that the folder holds now."""
        if read_manifest(self.folder) == self.manifest:
            return self
        return open_index(self.folder)

    def search(
        self,
        query: np.ndarray,
        count: int = 10,
        *,
        where: Sequence[str | Condition] = (),
        space: str | None = None,
        approximate: bool = False,
    ) -> list[Hit]:
        """The `count` rows nearest to a query [D] by cosine, best first; equal ones by id.

        `where`: conditions such as `genre=jig` that all have to hold, see `filters.matching`;
        `space`: the fingerprint of the query's model; `approximate`: ask the approximate search,
        where the index has one. There may be fewer rows than `count`.

        Raises DataError for a query of another model, ConfigError for an unknown property.
        """
        how = {"where": where, "space": space, "approximate": approximate}
        return self.search_many(np.asarray(query)[None], count, **how)[0]

    def search_many(
        self,
        queries: np.ndarray,
        count: int = 10,
        *,
        where: Sequence[str | Condition] = (),
        space: str | None = None,
        approximate: bool = False,
    ) -> list[list[Hit]]:
        """What `search` finds for each of the queries [Q, D]; faster than one at a time."""
        self.refuse_other(space)
        if count < 1:
            raise ConfigError(f"{count} results asked for; expected at least 1")
        conditions = parse_conditions(where)
        if self.segments:
            refuse_unknown(conditions, [*KEY, *self.properties])
        queries = self._checked(queries)
        largest = max((segment.entry.rows for segment in self.segments), default=1)
        step = max(1, MOST_PRODUCTS // largest)
        found: list[list[Hit]] = []
        for start in range(0, len(queries), step):
            found += self._search(queries[start : start + step], count, conditions, approximate)
        return found

    def refuse_other(self, space: str | None, source: object = "the query") -> None:
        """Raise DataError where vectors of the model `space` cannot be compared with these."""
        if space is not None and space != self.space:
            raise DataError(
                f"{self.folder}: an index of embeddings of model {self.space[:16]}, but {source} "
                f"is of model {space[:16]}; vectors of two models cannot be compared: search with "
                "that model, or embed again and build the index again"
            )

    def embedding(self, name: str) -> np.ndarray:
        """The vector [D] of the first row with this id, to search for what is like it.

        Raises DataError where there is none.
        """
        for segment in self.segments:
            rows = segment.rows_of_id(name)
            if len(rows):
                return np.array(segment.vectors[rows[0]])
        raise DataError(f"{self.folder}: no row with the id {name!r}")

    def vectors(self, where: Sequence[str | Condition] = ()) -> Vectors:
        """The rows that count and meet the conditions, in memory: ids, embeddings [N, D], labels.

        Raises ConfigError for an unknown property.
        """
        conditions = parse_conditions(where)
        refuse_unknown(conditions, [*KEY, *self.properties])
        matrix, rows = [np.empty((0, self.manifest.width), np.float32)], []
        for segment in self.segments:
            kept = segment.rows_allowed(conditions)
            matrix.append(segment.vectors[kept])
            rows += segment.rows.select(KEY).take(kept).to_pylist()
        labels = {name: [row[name] for row in rows] for name in KEY[1:]}
        labels = {name: column for name, column in labels.items() if any(column)}
        prints = self.manifest.fingerprints
        modalities = ",".join(sorted({row[MODALITY] for row in rows if row[MODALITY]}))
        origin = Origin(prints[0] if len(prints) == 1 else self.space, self.space, modalities, "")
        return Vectors([row["id"] for row in rows], np.concatenate(matrix), origin, labels)

    def check(self) -> None:
        """Read all files again. Raises DataError where one is not what was written."""
        for segment in self.segments:
            segment.check()
        for path, entry in self._beside():
            check_content(path, entry)

    def info(self) -> dict:
        """Rows, size, model, what can be filtered by, and how the approximate search was set up."""
        entries = self.manifest.segments
        counts: Counter[str] = Counter()
        for segment in self.segments:
            modalities = segment.rows.column(MODALITY)
            live = segment.live
            counts.update((modalities if live is None else modalities.filter(live)).to_pylist())
        return {
            "rows": len(self),
            "deleted_rows": sum(entry.deleted_rows for entry in entries),
            "modalities": dict(sorted(counts.items())),
            "width": self.manifest.width,
            "model": self.space,
            "fingerprints": list(self.manifest.fingerprints),
            "properties": self.properties,
            "segments": len(entries),
            "bytes": sum(file.size for entry in entries for file in entry.files.values())
            + sum(entry.size for _, entry in self._beside()),
            "files": list(self.manifest.files),
            "approximate": [
                {"rows": entry.rows} | entry.ann.model_dump() for entry in entries if entry.ann
            ],
            "generation": self.manifest.generation,
        }

    def _beside(self) -> list[tuple[Path, Beside]]:
        found = (self.manifest.pieces, self.manifest.map)
        return [(self.folder / entry.name, entry) for entry in found if entry]

    def _checked(self, queries: np.ndarray) -> np.ndarray:
        queries = np.asarray(queries, dtype=np.float64)
        if queries.ndim != 2 or queries.shape[1] != self.manifest.width:
            raise DataError(
                f"{self.folder}: vectors of width {self.manifest.width}, queries of shape "
                f"{list(queries.shape[1:])}; are they of another model?"
            )
        if not np.isfinite(queries).all():
            raise DataError("the query's embedding holds NaN or infinity")
        return queries

    def _search(
        self, queries: np.ndarray, count: int, conditions: tuple[Condition, ...], approximate: bool
    ) -> list[list[Hit]]:
        lengths = np.sqrt((queries * queries).sum(axis=1, keepdims=True))
        unit = np.divide(queries, lengths, out=np.zeros_like(queries), where=lengths != 0)
        unit = unit.astype(np.float32)
        found: list[list[tuple]] = [[] for _ in queries]
        for segment in self.segments:
            allowed = segment.allowed(conditions)
            if approximate and segment.entry.ann:
                rows = segment.ask_ann(unit, count, allowed)
            else:
                rows = segment.scan(unit, count, allowed)
            for place, query in enumerate(queries):
                best = _best(segment.cosines(rows[place], query), rows[place], count)
                found[place] += [(-cosine, segment.key(row), row, segment) for cosine, row in best]
        return [_hits(answers, count) for answers in found]


def _best(cosines: np.ndarray, rows: np.ndarray, count: int) -> list[tuple[float, int]]:
    """The `count` largest cosines with their rows, and whatever equals the last of them."""
    if len(cosines) > count:
        kept = cosines >= np.partition(cosines, len(cosines) - count)[len(cosines) - count]
        cosines, rows = cosines[kept], rows[kept]
    return list(zip(cosines.tolist(), rows.tolist(), strict=True))


def _hits(answers: list[tuple], count: int) -> list[Hit]:
    answers.sort(key=lambda answer: answer[:2])
    return [segment.hit(row, -negative) for negative, _, row, segment in answers[:count]]
