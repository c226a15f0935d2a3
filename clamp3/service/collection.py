"""The collection that a service searches: an index with its pieces, as they are now."""

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clamp3.errors import Clamp3Error
from clamp3.retrieval.index.filters import Condition
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.map import index_map
from clamp3.retrieval.index.pieces import Pieces
from clamp3.retrieval.index.reader import Index, open_index
from clamp3.retrieval.index.rows import ID, MODALITY
from clamp3.service.failures import RequestError

log = logging.getLogger(__name__)
MOST_VALUES = 50  # of a property
MOST_POINTS = 20_000  # of the map
MOST_CARDS = 20_000  # kept: files are looked into for each


@dataclass(frozen=True)
class Question:
    """What is searched for: what is near to a vector [D], or to the piece of an id, but not it."""

    near: np.ndarray | str
    count: int
    where: tuple[Condition, ...] = ()
    approximate: bool = False

    @property
    def kind(self) -> tuple:
        """Questions of one kind can be asked together."""
        return self.where, self.approximate


@dataclass(frozen=True)
class Card:
    """What a result shows of a piece beside its metadata."""

    title: str | None
    formats: tuple[str, ...]


class Snapshot:
    """An index as it was when it was opened, and what is known of its pieces."""

    def __init__(self, index: Index):
        self.index = index
        self.pieces = Pieces(index)
        self.card = functools.lru_cache(MOST_CARDS)(self._card)

    def search(self, questions: Sequence[Question]) -> list[list[Hit] | Exception]:
        """The hits of each question, one for each id and modality, or why there are none."""
        found: list[list[Hit] | Exception] = [[] for _ in questions]
        kinds: dict[tuple, list[int]] = {}
        for place, question in enumerate(questions):
            kinds.setdefault(question.kind, []).append(place)
        for places in kinds.values():
            try:
                answers = self._alike([questions[place] for place in places])
            except Clamp3Error as error:  # such as a condition on what nothing is known of
                answers = [error] * len(places)
            for place, answer in zip(places, answers, strict=True):
                found[place] = answer
        return found

    @functools.cached_property
    def facts(self) -> dict:
        """What `/api/info` says of the index."""
        info = self.index.info()
        return {
            "rows": info["rows"],
            "pieces": self._piece_count(),
            "modalities": info["modalities"],
            "width": info["width"],
            "approximate": bool(info["approximate"]),
            "properties": [
                {"name": name, "values": self._values(name)} for name in info["properties"]
            ],
        }

    @functools.cached_property
    def hidden(self) -> dict[str, str]:
        """The folders of the pieces' files, which must not leave the machine; see `cleaned`."""
        here = self.index.folder.resolve()
        return {f"{(here / name).resolve()}/": "" for name in self.index.manifest.files}

    @functools.cached_property
    def points(self) -> dict[str, list]:
        """The columns of the map, empty where there is none."""
        return index_map(self.index.folder, MOST_POINTS).to_pydict()

    def _card(self, name: str) -> Card:
        """What a result shows of a piece; nothing where its files are gone."""
        try:
            known = self.pieces.describe(name)
        except (Clamp3Error, OSError):
            return Card(None, ())
        return Card(known["title"], tuple(known["formats"]))

    def _alike(self, questions: Sequence[Question]) -> list[list[Hit] | Exception]:
        """Answers to questions of one kind, in as few scans as can be."""
        found: list[list[Hit] | Exception] = [[] for _ in questions]
        left = []
        for place, question in enumerate(questions):
            try:
                vector, own = self._start(question)
            except Clamp3Error as error:
                found[place] = error
            else:
                left.append((place, vector, question.count + own))
        while left:
            again = []
            asked = max(count for _, _, count in left)
            for (place, vector, _), hits in zip(
                left, self._scan([one[1] for one in left], asked, questions[0]), strict=True
            ):
                answer = _distinct(hits, questions[place])
                if len(answer) < questions[place].count and len(hits) == asked:
                    again.append((place, vector, 2 * asked))
                found[place] = answer
            left = again
        return found

    def _scan(self, vectors: list[np.ndarray], count: int, kind: Question) -> list[list[Hit]]:
        return self.index.search_many(
            np.stack(vectors), count, where=kind.where, approximate=kind.approximate
        )

    def _start(self, question: Question) -> tuple[np.ndarray, int]:
        """The vector of a question, and how many rows its own piece has."""
        if not isinstance(question.near, str):
            return question.near, 0
        rows = sum(len(part.rows_of_id(question.near)) for part in self.index.segments)
        if not rows:
            raise unknown_piece(question.near)
        return self.index.embedding(question.near), rows

    def _live(self, name: str) -> list[pa.ChunkedArray]:
        """A column of all rows that count; properties are lists."""
        parts = []
        for segment in self.index.segments:
            if name in segment.rows.column_names:
                column = segment.rows.column(name)
                parts.append(column if segment.live is None else column.filter(segment.live))
        return parts

    def _piece_count(self) -> int:
        ids = [pc.unique(part) for part in self._live(ID)]
        return len(pc.unique(pa.chunked_array(ids, pa.string()))) if ids else 0

    def _values(self, name: str) -> list[tuple[str, int]]:
        """The most common values of a property with their numbers of rows."""
        counts: Counter[str] = Counter()
        for part in self._live(name):
            for counted in pc.value_counts(pc.list_flatten(part)).to_pylist():
                counts[counted["values"]] += counted["counts"]
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_VALUES]


class Collection:
    """An index folder; what is written to it is seen by the next search.

    Raises DataError where there is no index or it is of another model than `space`.
    """

    def __init__(self, folder: Path, space: str, source: object):
        self.folder = Path(folder)
        self._space = space
        self._source = source
        self._refused: object = None
        self._snapshot = self._opened(open_index(self.folder))

    def newest(self) -> Snapshot:
        """The index as it is now; what was open stays where the new one cannot be used."""
        snapshot = self._snapshot
        try:
            index = snapshot.index.newest()
            if index is not snapshot.index:
                snapshot = self._snapshot = self._opened(index)
                log.info("%s: opened again, %d rows", self.folder, len(index))
            self._refused = None
        except (Clamp3Error, OSError) as error:
            if str(error) != self._refused:
                log.error("%s; answering from the index as it was", error)
            self._refused = str(error)
        return snapshot

    def search(self, questions: Sequence[Question]) -> list[tuple[Snapshot, list[Hit]] | Exception]:
        """See Snapshot.search; with the hits where they were found."""
        snapshot = self.newest()
        return [
            found if isinstance(found, Exception) else (snapshot, found)
            for found in snapshot.search(questions)
        ]

    def _opened(self, index: Index) -> Snapshot:
        index.refuse_other(self._space, self._source)
        return Snapshot(index)


def unknown_piece(name: str) -> RequestError:
    """404 for an id that no row has."""
    return RequestError(404, "unknown_id", f"no piece with the id {name!r} in the index")


def _distinct(hits: Sequence[Hit], question: Question) -> list[Hit]:
    """The best row of each id and modality, without the piece that was asked with."""
    own = question.near if isinstance(question.near, str) else None
    found: dict[tuple[str, str | None], Hit] = {}
    for hit in hits:
        if hit.id != own:
            found.setdefault((hit.id, hit.labels.get(MODALITY)), hit)
    return list(found.values())[: question.count]
