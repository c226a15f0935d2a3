"""The oracle of rankings: plain loops in double precision."""

from collections.abc import Sequence

import numpy as np

from clamp3.retrieval.evaluation.metrics import TIE_TOLERANCE, Ranking
from clamp3.retrieval.evaluation.ranking import Placed, rank_groups
from clamp3.retrieval.keys import group


def plain_cosines(query: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The cosines [R] of a query [D] with references [R, D]; 0 where a vector is zero."""
    query, references = np.asarray(query, np.float64), np.asarray(references, np.float64)

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / (np.linalg.norm(vector) or 1)

    return np.array([unit(query) @ unit(reference) for reference in references])


def plain_ranking(
    queries: np.ndarray, references: np.ndarray, targets: Sequence[Sequence[int]]
) -> Ranking:
    """Where the best of each query's `targets` stands; its other targets compete with nothing."""
    better, tied = [], []
    for query, rows in zip(queries, targets, strict=True):
        cosines = plain_cosines(query, references)
        best = max(cosines[row] for row in rows)
        wrong = [cosine for row, cosine in enumerate(cosines) if row not in rows]
        better.append(sum(cosine > best + TIE_TOLERANCE for cosine in wrong))
        tied.append(1 + sum(abs(cosine - best) <= TIE_TOLERANCE for cosine in wrong))
    right = np.array([len(rows) for rows in targets])
    return Ranking(np.array(better), np.array(tied), right, len(references))


def placed(queries: np.ndarray, references: np.ndarray, targets: Sequence[int]) -> Placed:
    """What `rank_groups` says where each query has one right reference, the row in `targets`."""
    groups = group([str(row) for row in targets], [str(row) for row in range(len(references))])
    return rank_groups(queries, references, groups)
