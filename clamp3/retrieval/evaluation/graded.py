"""Rankings against grades: how much of what should stand on top does."""

from collections.abc import Sequence

import numpy as np

from clamp3.errors import DataError
from clamp3.retrieval.evaluation.metrics import TIE_TOLERANCE
from clamp3.retrieval.vectors import unit_rows


def ndcg(scores: np.ndarray, grades: np.ndarray, at: int) -> np.ndarray:
    """The normalised discounted cumulative gain [Q] of the first `at` places.

    `scores` [Q, R]: what the references are ranked by; `grades` [Q, R] ≥ 0: what each is worth. The
    gain of place i (from 1) is grade / log2(i + 1); the best order of all references would gain 1.
    References whose scores differ by no more than TIE_TOLERANCE from the first of them share their
    places, so that a collapsed model scores chance. A query without any grade above 0 has NaN; a
    score of -inf keeps a reference (such as the query itself) out of both orders.

    Raises DataError for other shapes, NaN, negative or infinite grades.
    Source: Järvelin and Kekäläinen 2002; Burges et al. 2005 take 2^grade - 1 as the gain, which
    here is for the caller to put in.
    Differs: yuhuacheng/clap_musicgen@af54eac src/eval.py takes the best order of the references
    that were found for the best of all.
    """
    scores, grades = _checked(scores, grades, at)
    out = np.isneginf(scores)
    grades = np.where(out, 0.0, grades)
    places = min(at, scores.shape[1])
    discounts = np.zeros(scores.shape[1])
    discounts[:places] = 1 / np.log2(np.arange(2, places + 2))
    best = -np.sort(-grades, axis=1) @ discounts
    gains = np.array([_gain(*row, discounts) for row in zip(scores, grades, strict=True)])
    with np.errstate(invalid="ignore"):
        return np.where(best > 0, gains / np.where(best > 0, best, 1), np.nan)


def mean_ndcg(scores: np.ndarray, grades: np.ndarray, at: Sequence[int]) -> dict:
    """`queries` (those with something to find) and `ndcg@k …`, None without queries.

    `chance`: what a random order of the same references gets on average.
    """
    figures: dict = {}
    chance: dict = {}
    level = np.where(np.isneginf(scores), -np.inf, 0.0)
    for count in at:
        for found, by in ((figures, scores), (chance, level)):
            values = ndcg(by, grades, count)
            known = values[~np.isnan(values)]
            found[f"ndcg@{count}"] = float(known.mean()) if len(known) else None
        figures["queries"] = len(known)  # the same for both
    return figures | {"chance": chance}


def caption_grades(captions: np.ndarray) -> np.ndarray:
    """Grades [N, N] from 0 to 1 of caption vectors [N, D]: their cosines, less than 0 being 0."""
    vectors = np.asarray(captions, dtype=np.float64)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise DataError(f"captions: shape {list(vectors.shape)}, expected finite [rows, width]")
    unit = unit_rows(vectors)
    return np.clip(unit @ unit.T, 0, 1)


def _checked(scores: np.ndarray, grades: np.ndarray, at: int) -> tuple[np.ndarray, np.ndarray]:
    scores, grades = np.asarray(scores, np.float64), np.asarray(grades, np.float64)
    if scores.ndim != 2 or scores.shape != grades.shape:
        raise DataError(
            f"scores {list(scores.shape)} and grades {list(grades.shape)}: expected the same "
            "[queries, references]"
        )
    if at < 1:
        raise DataError(f"ndcg@{at}: expected at least 1 place")
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise DataError("scores: NaN or infinity among them")
    if not np.isfinite(grades).all() or (grades < 0).any():
        raise DataError("grades: NaN, infinity or less than 0 among them")
    return scores, grades


def _gain(scores: np.ndarray, grades: np.ndarray, discounts: np.ndarray) -> float:
    """The gain of one ranking; tied references have the mean of their places' discounts."""
    order = np.argsort(-scores, kind="stable")
    ranked, worth = scores[order], grades[order]
    total, start = 0.0, 0
    while start < len(order) and discounts[start]:
        level = ranked[start:] >= ranked[start] - TIE_TOLERANCE
        stop = start + int(level.sum())
        total += worth[start:stop].mean() * discounts[start:stop].sum()
        start = stop
    return total
