"""The shape of an embedding space: gaps between modalities, alignment, evenness, dimensions, hubs.

Everything is of directions: rows are scaled to length 1 first, in double precision. A row of zeros
has no direction and stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.errors import DataError
from clamp3.retrieval.evaluation.intervals import Interval, mean_intervals
from clamp3.retrieval.keys import NO_KEY, group
from clamp3.retrieval.vectors import unit_rows

BLOCK_NUMBERS = 2**22  # of a matrix of distances held at once: 32 MiB
SHARPNESS = 2.0  # t of uniformity's kernel exp(-t d²), as published


@dataclass(frozen=True)
class Gap:
    """How far the centroids of two sets lie apart, and what two random parts would show.

    `distance`: between the means of the unit vectors; `by_chance`: its root mean square when the
    rows of both sets are dealt at random to two sets of these sizes.
    """

    distance: float
    by_chance: float


@dataclass(frozen=True)
class Alignment:
    """How near partners of two sets are: squared distances of unit vectors, between 0 and 4.

    `distance`: the mean over pairs, with its `interval`; `unmatched`: the mean when each asks for
    a random one of all partners; `gap_share`: the part of `distance` that one shift of all rows by
    the same vector would take away, None where the distance is 0; `pairs`: rows with a partner.
    """

    distance: float
    interval: Interval | None
    unmatched: float
    gap_share: float | None
    pairs: int


def modality_gap(first: np.ndarray, second: np.ndarray) -> Gap:
    """The distance between the centroids of two sets [N, D] and [M, D].

    Source: Liang and others, Mind the Gap, 2022.
    Raises DataError for an empty set.
    """
    if not len(first) or not len(second):
        raise DataError(f"a gap between {len(first)} and {len(second)} embeddings: expected some")
    x, y = unit_rows(first), unit_rows(second)
    both = np.concatenate([x, y])
    spread = ((both - both.mean(axis=0)) ** 2).sum() / max(1, len(both) - 1)
    chance = np.sqrt((1 / len(x) + 1 / len(y)) * spread)
    return Gap(float(np.linalg.norm(x.mean(axis=0) - y.mean(axis=0))), float(chance))


def alignment(
    first: np.ndarray,
    second: np.ndarray,
    keys: tuple[Sequence[str], Sequence[str]],
    *,
    seed: int = 0,
) -> Alignment | None:
    """The mean squared distance of partners, rows of equal key; None where nothing has a partner.

    A row of `first` counts once, with its mean over all its partners. The mean squared distance of
    pairs is the squared length of their mean difference, which is the gap, and the scatter of
    the differences around it: `gap_share` is the first of the two, divided by the sum.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere, 2020 (alpha = 2).
    """
    groups = group(*keys)
    rows = np.flatnonzero(groups.queries != NO_KEY)
    if not len(rows):
        return None
    x, y = unit_rows(first)[rows], unit_rows(second)
    members = groups.members()
    means = np.stack([y[member].mean(axis=0) for member in members])
    squares = np.array([(y[member] ** 2).sum(axis=1).mean() for member in members])
    asked = groups.queries[rows]
    own = (x**2).sum(axis=1)
    found = np.maximum(0, own + squares[asked] - 2 * np.einsum("ij,ij->i", x, means[asked]))
    shift = (x - means[asked]).mean(axis=0)
    mean = float(found.mean())
    return Alignment(
        distance=mean,
        interval=mean_intervals(found[:, None], asked, seed=seed)[0],
        unmatched=float(
            own.mean() + squares[asked].mean() - 2 * x.mean(axis=0) @ means[asked].mean(axis=0)
        ),
        gap_share=min(1.0, float(shift @ shift) / mean) if mean > 0 else None,
        pairs=len(rows),
    )


def uniformity(embeddings: np.ndarray) -> float | None:
    """log of the mean of exp(−2 d²) over all pairs of rows [N, D]; None with fewer than two.

    0 where all directions are the same; −4 where all are at right angles. About 32 MiB at once.

    Source: Wang and Isola 2020 (t = 2).
    """
    x = unit_rows(embeddings)
    if len(x) < 2:
        return None
    squares, total = (x**2).sum(axis=1), 0.0
    step = max(1, BLOCK_NUMBERS // len(x))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        apart = np.maximum(0, squares[part, None] + squares[None] - 2 * x[part] @ x.T)
        kernel = np.exp(-SHARPNESS * apart)
        kernel[np.arange(len(kernel)), start + np.arange(len(kernel))] = 0  # itself
        total += float(kernel.sum())
    return float(np.log(total / (len(x) * (len(x) - 1))))


def effective_dimension(embeddings: np.ndarray) -> float:
    """The participation ratio (Σλ)² / Σλ² of the covariance's eigenvalues λ, from 0 to D.

    D where all directions vary alike, 1 where everything lies on a line, 0 where nothing varies.
    """
    x = unit_rows(embeddings)
    if not len(x):
        return 0.0
    centred = x - x.mean(axis=0)
    total = float((centred**2).sum())
    if total <= np.finfo(np.float64).eps * len(x):
        return 0.0
    # Σλ² is the same for both products; the smaller is cheaper.
    small = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    return total**2 / float((small**2).sum())


def occurrences(nearest: np.ndarray, references: int) -> np.ndarray:
    """How often each reference [R] is among the nearest [Q, K] of a query; −1 is nobody."""
    return np.bincount(nearest[nearest >= 0].ravel(), minlength=references)


def skewness(counts: np.ndarray) -> float:
    """The third standardised moment; 0 where all counts are equal. Above 1 there are hubs.

    Source: Radovanović and others, Hubs in Space, 2010.
    """
    apart = np.asarray(counts, dtype=np.float64) - np.mean(counts)
    spread = float(np.sqrt(np.mean(apart**2)))
    return float(np.mean(apart**3)) / spread**3 if spread else 0.0
