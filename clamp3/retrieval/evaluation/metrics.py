"""Retrieval figures from rankings: where the right reference stands, and what chance gives.

Conventions: similarity is the cosine, of double precision; ranks count from 1.

Ties: references whose similarity to the query differs by no more than `TIE_TOLERANCE` from that
of the right one are level with it. A rank is then the mean of the places the level ones take up,
and MRR and Hit@k are their expected values when the level ones are put in random order. So a
collapsed model, for which everything is level, scores exactly chance. `ties="optimistic"` puts
the right reference first among the level ones, as the original programs do; a collapsed model
then scores 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Ties = Literal["mean", "optimistic"]

TIE_TOLERANCE = 1e-6  # what single precision leaves of two equal cosines
TIE_RULE = (
    "Equal similarities share their places: a rank is the mean of the tied places, and MRR and "
    "Hit@k are expected values over all orders of the tied references."
)


@dataclass(frozen=True)
class Ranking:
    """Where the right reference of each query stands.

    `better` [Q]: references above it; `tied` [Q]: references level with it, itself counted (so at
    least 1); `right` [Q]: right references of the query; `references`: size of the gallery R.
    With several right references the best one counts, and the others compete with nothing.
    """

    better: np.ndarray
    tied: np.ndarray
    right: np.ndarray
    references: int

    @property
    def ranks(self) -> np.ndarray:
        """Mean places [Q], from 1; halves occur with ties."""
        return self.better + (self.tied + 1) / 2

    @property
    def reciprocal_ranks(self) -> np.ndarray:
        """Mean of 1/place [Q] over the places that the tied ones take up."""
        places = np.arange(1, (self.better + self.tied).max() + 1)
        harmonic = np.concatenate([[0.0], np.cumsum(1 / places)])
        several = (harmonic[self.better + self.tied] - harmonic[self.better]) / self.tied
        return np.where(self.tied == 1, 1 / (self.better + 1), several)

    def hits(self, at: int) -> np.ndarray:
        """Chance [Q] that the right reference is among the first `at`, in random order of ties."""
        return np.clip((at - self.better) / self.tied, 0, 1)


def summarise(ranking: Ranking, hits_at: Sequence[int]) -> dict:
    """The figures of a ranking of at least one query: mrr, hit@k …, median_rank, mean_rank, chance.

    `chance`: mrr, hit@k … and mean_rank of a random order of the same gallery.
    """
    return {
        "mrr": float(np.mean(ranking.reciprocal_ranks)),
        **{f"hit@{k}": float(np.mean(ranking.hits(k))) for k in hits_at},
        "median_rank": float(np.median(ranking.ranks)),
        "mean_rank": float(np.mean(ranking.ranks)),
        "chance": _mean_chance(ranking, hits_at),
    }


def chance_levels(references: int, hits_at: Sequence[int] = (), *, right: int = 1) -> dict:
    """mrr, hit@k … and mean_rank of a random order of `references`, `right` of them right.

    With one right reference: H_n / n for MRR (H the harmonic number), k / n for Hit@k.
    """
    first = _first_right_place(references, right)
    places = np.arange(1, len(first) + 1)
    return {
        "mrr": float(np.sum(first / places)),
        **{f"hit@{k}": float(np.sum(first[:k])) for k in hits_at},
        "mean_rank": float(np.sum(first * places)),
    }


def _mean_chance(ranking: Ranking, hits_at: Sequence[int]) -> dict:
    numbers, queries = np.unique(ranking.right, return_counts=True)
    levels = [chance_levels(ranking.references, hits_at, right=int(n)) for n in numbers]
    return {
        name: float(np.average([level[name] for level in levels], weights=queries))
        for name in levels[0]
    }


def _first_right_place(references: int, right: int) -> np.ndarray:
    """Chance that the best of the right ones stands behind 0, 1, … wrong ones."""
    wrong = references - right
    passed = np.arange(wrong)
    all_before_wrong = np.cumprod((wrong - passed) / (references - passed))
    reached = np.concatenate([[1.0], all_before_wrong])
    return reached * right / (references - np.arange(wrong + 1))
