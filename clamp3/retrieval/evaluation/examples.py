"""Retrieved examples: some queries, what came first for each, and which answer was right."""

from dataclasses import dataclass

import numpy as np

from clamp3.randomness import stable_hash
from clamp3.retrieval.evaluation.ranking import rank_groups
from clamp3.retrieval.keys import group
from clamp3.retrieval.vectors import Vectors

SHOWN = 3
SIMILARITY_DIGITS = 6  # beyond, equal vectors differ by rounding


@dataclass(frozen=True)
class Answer:
    """One retrieved piece, its cosine with the query, and whether it is the right one."""

    id: str
    similarity: float
    right: bool


@dataclass(frozen=True)
class Example:
    """A query piece, the rank of its partner among `references`, and the first answers."""

    id: str
    rank: float
    references: int
    answers: list[Answer]


def choose_examples(queries: Vectors, references: Vectors, count: int) -> list[Example]:
    """The answers to `count` queries that have a partner, chosen by the hash of their ids.

    So which ones are shown does not depend on how well the model did.
    """
    partners = set(references.ids)
    order = sorted(
        (row for row, name in enumerate(queries.ids) if name in partners),
        key=lambda row: stable_hash(queries.ids[row], "example"),
    )[:count]
    asked = queries.take(order)
    groups = group(asked.ids, references.ids)
    placed = rank_groups(asked.embeddings, references.embeddings, groups)
    return [
        Example(name, float(place), len(references.ids), _answers(name, vector, references))
        for name, vector, place in zip(
            asked.ids, asked.embeddings, placed.ranking.ranks, strict=True
        )
    ]


def nearest(query: np.ndarray, references: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The rows of the `count` references [R, D] nearest to a query [D], with their cosines.

    Best first; equal ones in the order of the rows. A zero vector has cosine 0 to everything.
    """
    lengths = np.linalg.norm(references, axis=1) * np.linalg.norm(query)
    products = references @ np.asarray(query, dtype=references.dtype)
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    rounded = np.round(cosines.astype(np.float64), SIMILARITY_DIGITS)
    order = np.argsort(-rounded, kind="stable")[:count]
    return [(int(row), float(rounded[row])) for row in order]


def _answers(right: str, query: np.ndarray, references: Vectors) -> list[Answer]:
    found = nearest(query, references.embeddings, SHOWN)
    return [
        Answer(references.ids[row], cosine, references.ids[row] == right) for row, cosine in found
    ]
