"""Retrieval figures from embeddings: where the right reference stands, and what chance gives.

Conventions: similarity is the cosine, computed in double precision; ranks count from 1.

Ties: references whose similarity to the query differs by no more than `TIE_TOLERANCE` from that
of the right one are level with it. A rank is then the mean of the places the level ones take up,
and MRR and Hit@k are their expected values when the level ones are put in random order. So a
collapsed model, for which everything is level, scores exactly chance. `ties="optimistic"` puts
the right reference first among the level ones, as the original programs do; a collapsed model
then scores 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clamp3.errors import DataError

Ties = Literal["mean", "optimistic"]
Targets = np.ndarray | Sequence[int] | Sequence[Sequence[int]]

TIE_TOLERANCE = 1e-6  # what single precision leaves of two equal cosines
CHUNK_NUMBERS = 2**23  # similarities held at once: 64 MiB
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
        if not len(self.better):
            return np.zeros(0)
        places = np.arange(1, (self.better + self.tied).max() + 1)
        harmonic = np.concatenate([[0.0], np.cumsum(1 / places)])
        several = (harmonic[self.better + self.tied] - harmonic[self.better]) / self.tied
        return np.where(self.tied == 1, 1 / (self.better + 1), several)

    def hits(self, at: int) -> np.ndarray:
        """Chance [Q] that the right reference is among the first `at`, in random order of ties."""
        return np.clip((at - self.better) / self.tied, 0, 1)


def rank_targets(
    queries: np.ndarray, references: np.ndarray, targets: Targets, *, ties: Ties = "mean"
) -> Ranking:
    """The ranking of queries [Q, D] against references [R, D] by cosine.

    `targets`: for each query the row of its right reference, or a sequence of rows. A zero vector
    has cosine 0 to everything. Only a chunk of the similarities is held at a time.

    Raises DataError for other shapes, a target out of range or none, NaN and infinity.
    """
    queries, references = _unit_rows(queries, "queries"), _unit_rows(references, "references")
    if queries.shape[1] != references.shape[1]:
        raise DataError(
            f"queries are {queries.shape[1]} wide and references {references.shape[1]}: expected "
            "the same width (vectors of two different models?)"
        )
    rows = _target_rows(targets, len(queries), len(references))
    counts = [
        _count(queries[chunk] @ references.T, rows[chunk])
        for chunk in _chunks(len(queries), len(references))
    ]
    better = np.concatenate([c[0] for c in counts] or [np.zeros(0, int)])
    tied = np.concatenate([c[1] for c in counts] or [np.zeros(0, int)])
    right = np.array([len(row) for row in rows], dtype=int)
    return Ranking(better, tied if ties == "mean" else np.ones_like(tied), right, len(references))


def ranks(
    queries: np.ndarray, references: np.ndarray, targets: Targets, *, ties: Ties = "mean"
) -> np.ndarray:
    """The place [Q] of each query's right reference, from 1; see `rank_targets`."""
    return rank_targets(queries, references, targets, ties=ties).ranks


def retrieval_metrics(
    queries: np.ndarray,
    references: np.ndarray,
    targets: Targets,
    *,
    hits_at: Sequence[int] = (1, 5, 10),
    ties: Ties = "mean",
) -> dict:
    """Counts, MRR, Hit@k, median and mean rank, and what chance gives; see `summarise`."""
    return summarise(rank_targets(queries, references, targets, ties=ties), hits_at)


def summarise(ranking: Ranking, hits_at: Sequence[int]) -> dict:
    """The figures of a ranking: queries, references, mrr, hit@k …, median_rank, mean_rank, chance.

    `mrr_standard_error`: how far off another sample of as many queries may be. `chance`: mrr,
    hit@k … and mean_rank of a random order of the same gallery. Without queries every figure is
    None.
    """
    counts = {"queries": len(ranking.better), "references": ranking.references}
    if not len(ranking.better):
        names = ["mrr", *(f"hit@{k}" for k in hits_at), "mean_rank"]
        blank = dict.fromkeys([*names, "mrr_standard_error", "median_rank"])
        return counts | blank | {"chance": dict.fromkeys(names)}
    reciprocal = ranking.reciprocal_ranks
    figures = {
        "mrr": float(np.mean(reciprocal)),
        "mrr_standard_error": float(np.std(reciprocal) / np.sqrt(len(reciprocal))),
    }
    for k in hits_at:
        figures[f"hit@{k}"] = float(np.mean(ranking.hits(k)))
    figures["median_rank"] = float(np.median(ranking.ranks))
    figures["mean_rank"] = float(np.mean(ranking.ranks))
    return counts | figures | {"chance": _mean_chance(ranking, hits_at)}


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


def _unit_rows(vectors: np.ndarray, what: str) -> np.ndarray:
    """Rows of length 1, in double precision; rows of zeros stay."""
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2:
        raise DataError(f"{what}: found shape {list(vectors.shape)}, expected [rows, width]")
    if not np.isfinite(vectors).all():
        raise DataError(f"{what}: {_not_finite(vectors)} row(s) hold NaN or infinity")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def _not_finite(vectors: np.ndarray) -> int:
    return int((~np.isfinite(vectors).all(axis=1)).sum())


def _target_rows(targets: Targets, queries: int, references: int) -> list[np.ndarray]:
    rows = [np.unique(np.atleast_1d(np.asarray(row, dtype=int))) for row in targets]
    if len(rows) != queries:
        raise DataError(f"{len(rows)} targets for {queries} queries: expected one each")
    for query, row in enumerate(rows):
        if not len(row):
            raise DataError(f"query {query} has no right reference: leave it out")
        if row[0] < 0 or row[-1] >= references:
            raise DataError(f"query {query}: target {row} out of range 0 … {references - 1}")
    return rows


def _chunks(queries: int, references: int) -> Iterator[slice]:
    step = max(1, CHUNK_NUMBERS // max(1, references))
    return (slice(start, start + step) for start in range(0, queries, step))


def _count(similarities: np.ndarray, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """References above and level with the best right one [Q]; `similarities` [Q, R] is used up."""
    best = np.array([line[row].max() for line, row in zip(similarities, rows, strict=True)])
    for line, row in zip(similarities, rows, strict=True):
        line[row] = -np.inf
    better = (similarities > best[:, None] + TIE_TOLERANCE).sum(axis=1)
    level = (similarities >= best[:, None] - TIE_TOLERANCE).sum(axis=1) - better
    return better, level + 1
