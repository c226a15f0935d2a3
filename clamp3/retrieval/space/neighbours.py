"""The nearest pieces of each piece, and how often they have a property in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.randomness import stable_hash
from clamp3.retrieval.evaluation.examples import SIMILARITY_DIGITS
from clamp3.retrieval.evaluation.intervals import Interval, mean_intervals
from clamp3.retrieval.space.shape import BLOCK_NUMBERS
from clamp3.retrieval.vectors import unit_rows

NOBODY = -1


@dataclass(frozen=True)
class Neighbours:
    """For each query the nearest references, best first: rows [Q, K] and cosines [Q, K].

    Where there are fewer than K the rows are `NOBODY` and the cosines NaN.
    """

    rows: np.ndarray
    cosines: np.ndarray


@dataclass(frozen=True)
class Purity:
    """How many of the nearest have the value that the query has, beside chance.

    `share`: the mean over queries, with its `interval`; `chance`: the same when neighbours are
    drawn at random; `queries`: those with a value and a neighbour that has one.
    """

    share: float
    interval: Interval | None
    chance: float
    queries: int


def find_neighbours(
    queries: np.ndarray,
    references: np.ndarray,
    keys: tuple[Sequence[str], Sequence[str]],
    count: int,
) -> Neighbours:
    """The `count` references [R, D] nearest to each query [Q, D] by cosine.

    References with the query's own key are left out: a piece is no neighbour of itself, nor of
    its own performance. Cosines equal to six digits stand in the order of the rows.
    """
    x, y = unit_rows(queries), unit_rows(references)
    codes = _codes([*keys[0], *keys[1]])
    asked, own = codes[: len(x)], codes[len(x) :]
    rows = np.full((len(x), count), NOBODY)
    cosines = np.full((len(x), count), np.nan)
    step = max(1, BLOCK_NUMBERS // max(1, len(y)))
    for start in range(0, len(x), step):
        block = np.round(x[start : start + step] @ y.T, SIMILARITY_DIGITS)
        block[asked[start : start + step, None] == own[None]] = -np.inf
        for place, found in enumerate(block, start=start):
            best = _best(found, count)
            rows[place, : len(best)] = best
            cosines[place, : len(best)] = found[best]
    return Neighbours(rows, cosines)


def _best(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest finite values, the largest first, equal ones in order."""
    if len(values) > count:
        edge = np.partition(values, len(values) - count)[len(values) - count]
        places = np.flatnonzero(values >= edge)
    else:
        places = np.arange(len(values))
    places = places[np.isfinite(values[places])]
    return places[np.argsort(-values[places], kind="stable")][:count]


def purity(
    neighbours: Neighbours,
    keys: tuple[Sequence[str], Sequence[str]],
    values: tuple[Sequence[str | None], Sequence[str | None]],
    *,
    seed: int = 0,
) -> Purity | None:
    """The share of neighbours with the query's value, of those that have any; None without such.

    `keys` and `values`: of queries and of references. The interval draws pieces, not rows.
    """
    names = _codes([*keys[0], *keys[1]])
    asked, own = names[: len(keys[0])], names[len(keys[0]) :]
    codes = _codes([*values[0], *values[1]])
    wanted, has = codes[: len(values[0])], codes[len(values[0]) :]
    found = np.where(neighbours.rows >= 0, np.append(has, NOBODY)[neighbours.rows], NOBODY)
    counted = (found >= 0).sum(axis=1)
    rows = np.flatnonzero((wanted >= 0) & (counted > 0))
    if not len(rows):
        return None
    shares = (found[rows] == wanted[rows, None]).sum(axis=1) / counted[rows]
    chance = [_chance(wanted[row], asked[row], has, own) for row in rows]
    interval = mean_intervals(shares[:, None], asked[rows], shares=True, seed=seed)[0]
    return Purity(float(shares.mean()), interval, float(np.mean(chance)), len(rows))


def _chance(value: int, key: int, has: np.ndarray, own: np.ndarray) -> float:
    """The share of the other pieces with a value that have this one."""
    others = has[own != key]
    return float(np.count_nonzero(others == value) / np.count_nonzero(others >= 0))


def _codes(names: Sequence[str | None]) -> np.ndarray:
    """A number for each name, equal for equal ones; `NOBODY` for None."""
    numbers: dict[str, int] = {}
    return np.array(
        [NOBODY if name is None else numbers.setdefault(name, len(numbers)) for name in names],
        dtype=np.int64,
    )


def choose_rows(keys: Sequence[str], count: int) -> list[int]:
    """The rows of `count` pieces to show, chosen by the hash of their keys, one row a piece."""
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    return [first[key] for key in sorted(first, key=lambda k: stable_hash(k, "neighbours"))[:count]]
