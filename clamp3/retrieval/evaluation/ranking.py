"""Ranks of many queries in a large gallery, in bounded memory.

Similarities are computed in single precision, a chunk of queries at a time. Where rounding could
change on which side of the right reference another falls, that one is computed again in double
precision; the bound on the rounding error is the proven one, so the ranks are those of double
precision. Queries with several right references, and those level with too many to look at singly,
are computed in double precision as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from clamp3.retrieval.evaluation.metrics import TIE_TOLERANCE, Ranking, Ties
from clamp3.retrieval.keys import NO_KEY, Groups
from clamp3.retrieval.vectors import unit_rows

CHUNK_NUMBERS = 2**24  # similarities held at once: 64 MiB, and twice that in double precision
CLOSE_SHARE = 0.02  # of a gallery close to the right reference: then all of it again
GAIN_AT = 10  # places that nDCG looks at
ROUNDING = 2.0**-24  # relative error of one operation in single precision


@dataclass(frozen=True)
class Placed:
    """Where the right references of the matched queries stand.

    `rows` [M]: the matched queries; `best` [M]: for each the row of its best right reference, the
    first of equal ones; `similarity` [M]: its cosine; `ranking`: where it stands; `gain` and
    `first_gain` [M]: nDCG@10 where ties share their places, and where right references come first.
    """

    rows: np.ndarray
    best: np.ndarray
    similarity: np.ndarray
    ranking: Ranking
    gain: np.ndarray
    first_gain: np.ndarray

    def take(self, places: np.ndarray) -> "Placed":
        """Some of the matched queries, by their place among them."""
        ranking = self.ranking
        counts = (column[places] for column in (ranking.better, ranking.tied, ranking.right))
        own = (self.rows, self.best, self.similarity)
        gains = (self.gain[places], self.first_gain[places])
        taken = Ranking(*counts, ranking.references)
        return Placed(*(column[places] for column in own), taken, *gains)


def rank_groups(queries: np.ndarray, references: np.ndarray, groups: Groups) -> Placed:
    """The places of the right references of queries [Q, D] among references [R, D], by cosine.

    Every reference is in the gallery, also those without a key. Of several right references the
    best counts and the others compete with nothing; nDCG@10 takes all of them into account, with
    relevance 1 and discount 1 / log2(1 + place) over the first `GAIN_AT` places.
    """
    gallery = _Gallery(np.asarray(references), groups.members())
    rows = np.flatnonzero(groups.queries != NO_KEY)
    found = [
        gallery.place(unit_rows(queries[rows[chunk]]), groups.queries[rows[chunk]])
        for chunk in _chunks(len(rows), len(references))
    ]
    empty = [np.zeros(0)] * 6
    columns = [np.concatenate(parts) for parts in zip(*found, strict=True)] if found else empty
    best, better, tied, right = (column.astype(np.int64) for column in columns[:4])
    similarity, gains = columns[4], columns[5].reshape(-1, 2)
    ranking = Ranking(better, tied, right, len(references))
    return Placed(rows, best, similarity, ranking, gains[:, 0], gains[:, 1])


def with_ties(ranking: Ranking, ties: Ties) -> Ranking:
    """The ranking under one of the rules for ties: see `metrics`."""
    tied = ranking.tied if ties == "mean" else np.ones_like(ranking.tied)
    return Ranking(ranking.better, tied, ranking.right, ranking.references)


def chance_gain(references: int, right: np.ndarray) -> float:
    """Mean nDCG@10 of a random order, for queries with `right` [Q] of the references right."""
    discounts = _discounts(references)
    return float(np.mean(right * discounts[-1] / references / discounts[right]))


def _chunks(queries: int, references: int) -> Iterator[slice]:
    step = max(1, CHUNK_NUMBERS // max(1, references))
    return (slice(start, start + step) for start in range(0, queries, step))


def _discounts(references: int) -> np.ndarray:
    """Sums of 1 / log2(1 + place) over the first 0, 1, … places [R + 1], none beyond `GAIN_AT`."""
    places = np.arange(1, references + 1)
    return np.concatenate([[0.0], np.cumsum((places <= GAIN_AT) / np.log2(1 + places))])


class _Gallery:
    """References, as given and with length 1 in single precision."""

    def __init__(self, references: np.ndarray, members: list[np.ndarray]):
        self.raw = references
        self.single = np.empty(references.shape, dtype=np.float32)
        for part in self._parts():
            self.single[part] = self.rows(part)
        self.members = members
        self.discounts = _discounts(len(references))
        self.margin = (references.shape[1] + 8) * ROUNDING

    def rows(self, rows: np.ndarray | slice) -> np.ndarray:
        """References of length 1 in double precision."""
        return unit_rows(self.raw[rows])

    def _parts(self) -> Iterator[slice]:
        step = max(1, CHUNK_NUMBERS // 4 // max(1, self.raw.shape[1]))
        return (slice(start, start + step) for start in range(0, len(self.raw), step))

    def place(self, queries: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, ...]:
        """For a chunk: best, better, tied, right, similarity, the two gains [., 2]."""
        sizes = np.array([len(self.members[key]) for key in keys])
        out = [np.zeros(len(keys)) for _ in range(5)] + [np.zeros((len(keys), 2))]
        single = np.flatnonzero(sizes == 1)
        again = np.flatnonzero(sizes != 1)
        if len(single):
            again = np.concatenate([again, single[self._single(queries, keys, single, out)]])
        if len(again):
            self._double(queries, keys, again, out)
        return tuple(out)

    def _single(self, queries: np.ndarray, keys: np.ndarray, rows: np.ndarray, out: list):
        """Place the queries with one right reference; those that need double precision."""
        queries = queries[rows]
        right = np.array([self.members[key][0] for key in keys[rows]])
        best = np.einsum("ij,ij->i", queries, self.rows(right))
        similarities = queries.astype(np.float32) @ self.single.T
        similarities[np.arange(len(rows)), right] = -np.inf
        low = (best - TIE_TOLERANCE - self.margin).astype(np.float32)[:, None]
        high = (best + TIE_TOLERANCE + self.margin).astype(np.float32)[:, None]
        better = (similarities > high).sum(axis=1)
        close = np.count_nonzero(similarities >= low, axis=1) - better
        tied = np.ones(len(rows), dtype=np.int64)
        dense = close > max(64, CLOSE_SHARE * len(self.raw))
        for query in np.flatnonzero((close > 0) & ~dense):
            line = similarities[query]
            near = np.flatnonzero((line >= low[query]) & (line <= high[query]))
            exact = self.rows(near) @ queries[query]
            above = np.count_nonzero(exact > best[query] + TIE_TOLERANCE)
            better[query] += above
            tied[query] += np.count_nonzero(exact >= best[query] - TIE_TOLERANCE) - above
        mean = (self.discounts[better + tied] - self.discounts[better]) / tied
        first = self.discounts[better + 1] - self.discounts[better]
        values = (right, better, tied, np.ones(len(rows)), best, np.stack([mean, first], axis=1))
        for column, value in zip(out, values, strict=True):
            column[rows] = value
        return dense

    def _double(self, queries: np.ndarray, keys: np.ndarray, rows: np.ndarray, out: list) -> None:
        """Place these queries in double precision, whatever number of right references."""
        similarities = np.empty((len(rows), len(self.raw)))
        for part in self._parts():
            similarities[:, part] = queries[rows] @ self.rows(part).T
        for line, row in zip(similarities, rows, strict=True):
            members = self.members[keys[row]]
            own = line[members]
            line[members] = -np.inf
            values = self._placed(line, own)
            for column, value in zip(out, (members[np.argmax(own)], *values), strict=True):
                column[row] = value

    def _placed(self, wrong: np.ndarray, own: np.ndarray) -> tuple:
        """Better, tied, right, similarity and gains from the similarities of one query."""
        own = -np.sort(-own)
        above, level = _above_and_level(wrong, own)
        own_above, own_level = _above_and_level(own, own)
        ideal = self.discounts[len(own)]
        start, count = above + own_above, level + own_level
        shared = (self.discounts[start + count] - self.discounts[start]) / count
        place = above + np.arange(len(own))
        first = self.discounts[place + 1] - self.discounts[place]
        gains = (shared.sum() / ideal, first.sum() / ideal)
        return above[0], level[0] + 1, len(own), own[0], gains


def _above_and_level(values: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many values lie above each mark, and how many level with it; marks fall."""
    rising = marks[::-1]
    values = values[values >= rising[0] - TIE_TOLERANCE]  # the others count for no mark
    above = np.searchsorted(rising + TIE_TOLERANCE, values, side="left")
    reached = np.searchsorted(rising - TIE_TOLERANCE, values, side="right")
    counts = [
        np.cumsum(np.bincount(places, minlength=len(marks) + 1)[::-1])[: len(marks)]
        for places in (above, reached)
    ]
    return counts[0], counts[1] - counts[0]
