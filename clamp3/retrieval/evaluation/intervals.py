"""How sure figures are: bootstrap intervals, and a paired test between two models.

What is drawn again is the piece, not the query: queries of one key (several texts of one song, say)
come and go together, so they do not count as independent. Everything is seeded, and depends
neither on the machine nor on what was computed before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from clamp3.randomness import generator

RESAMPLES = 2000
FLIPS = 9999
LEVEL = 0.95
TAILS = (1 - LEVEL) / 2, (1 + LEVEL) / 2
BLOCK_NUMBERS = 2**22  # drawn at once
ROUNDING = 1e-12  # what double precision leaves of two equal sums

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """Second minus first: the mean, its interval, and how often chance alone gives as much."""

    mean: float
    interval: Interval | None
    p_value: float


def mean_intervals(
    values: np.ndarray, clusters: np.ndarray, *, shares: bool = False, seed: int = 0
) -> list[Interval | None]:
    """For each column of `values` [Q, S] the interval of its mean; None with fewer than 2 clusters.

    `clusters` [Q]: numbers of what is drawn together. Bias-corrected and accelerated (BCa). Where
    all values are equal, every resample gives the same and the interval has no width; with `shares`
    (values from 0 to 1) it then is the exact one for a mean of 0 or of 1, as when all queries hit.

    Source: Efron, Better Bootstrap Confidence Intervals, 1987.
    """
    values = np.asarray(values, dtype=np.float64)
    sums, sizes = _by_cluster(values, clusters)
    if len(sizes) < 2:
        return [None] * values.shape[1]
    drawn = np.concatenate(
        [(counts @ sums) / (counts @ sizes)[:, None] for counts in _resamples(len(sizes), seed)]
    )
    total = sums.sum(axis=0)
    left_out = (total - sums) / (sizes.sum() - sizes)[:, None]
    estimate = total / sizes.sum()
    found = [
        _accelerated(drawn[:, column], estimate[column], left_out[:, column])
        for column in range(values.shape[1])
    ]
    return [_widened(ends, len(sizes)) for ends in found] if shares else found


def median_interval(values: np.ndarray, clusters: np.ndarray, *, seed: int = 0) -> Interval | None:
    """The percentile interval of the median of `values` [Q]: see `mean_intervals`."""
    order = np.argsort(values, kind="stable")
    ordered, names = np.asarray(values)[order], np.unique(clusters, return_inverse=True)[1]
    if not len(names) or names.max() < 1:
        return None
    drawn = []
    for counts in _resamples(names.max() + 1, seed):
        for reached in np.cumsum(counts[:, names[order]], axis=1):
            middle = [(reached[-1] - 1) // 2, reached[-1] // 2]
            drawn.append(ordered[np.searchsorted(reached, middle, side="right")].mean())
    low, high = np.quantile(drawn, TAILS)
    return float(low), float(high)


def paired_difference(
    first: np.ndarray, second: np.ndarray, clusters: np.ndarray, *, seed: int = 0
) -> Difference:
    """Mean of second − first over the same queries [Q], tested by flipping signs at random.

    The two-sided p value is the share of `FLIPS` random exchanges of the two models, one draw for
    each cluster, under which the means differ at least as much; the actual one counts as one more,
    so it is never 0. The interval is that of `mean_intervals`.
    """
    change = np.asarray(second, dtype=np.float64) - first
    sums, _ = _by_cluster(change[:, None], clusters)
    sums = sums[:, 0]
    actual = abs(sums.sum())
    as_much = 0
    draws = generator(seed, "flips")
    step = max(1, BLOCK_NUMBERS // max(1, len(sums)))
    for start in range(0, FLIPS, step):
        shape = min(step, FLIPS - start), len(sums)
        signs = draws.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1.0
        as_much += int((np.abs(signs @ sums) >= actual - ROUNDING * len(sums)).sum())
    interval = mean_intervals(change[:, None], clusters, seed=seed)[0]
    return Difference(float(change.mean()), interval, (as_much + 1) / (FLIPS + 1))


def _by_cluster(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums [C, S] and sizes [C] of the clusters."""
    names = np.unique(clusters, return_inverse=True)[1]
    columns = [np.bincount(names, weights=column) for column in values.T]
    return np.stack(columns, axis=1), np.bincount(names).astype(np.float64)


def _resamples(clusters: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks [., C] of how often each cluster is drawn, `RESAMPLES` rows in all."""
    draws = generator(seed, "bootstrap")
    step = max(1, BLOCK_NUMBERS // clusters)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        drawn = draws.integers(0, clusters, (rows, clusters))
        drawn += np.arange(rows)[:, None] * clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters)
        yield counts.reshape(rows, clusters)


def _widened(ends: Interval, clusters: int) -> Interval:
    """The exact binomial interval where each of the clusters is at 0, or each at 1."""
    reach = TAILS[0] ** (1 / clusters)
    return {(0.0, 0.0): (0.0, 1 - reach), (1.0, 1.0): (reach, 1.0)}.get(ends, ends)


def _accelerated(drawn: np.ndarray, estimate: float, left_out: np.ndarray) -> Interval:
    normal = NormalDist()
    below = np.mean(drawn < estimate - ROUNDING) + np.mean(np.abs(drawn - estimate) <= ROUNDING) / 2
    if not 0 < below < 1 or np.ptp(drawn) == 0:
        return float(drawn.min()), float(drawn.max())
    bias = normal.inv_cdf(below)
    spread = left_out.mean() - left_out
    scale = 6 * np.sum(spread**2) ** 1.5
    acceleration = np.sum(spread**3) / scale if scale else 0.0
    ends = []
    for tail in TAILS:
        shifted = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)
