"""An embedding space in figures: gaps, alignment, neighbours, and what neighbours share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from clamp3.config import SpaceConfig
from clamp3.retrieval.evaluation.figures import rounded, rounded_interval
from clamp3.retrieval.evaluation.intervals import LEVEL
from clamp3.retrieval.metadata import TITLE, Facts, telling_columns
from clamp3.retrieval.space.maps import sample_rows
from clamp3.retrieval.space.neighbours import (
    NOBODY,
    Neighbours,
    choose_rows,
    find_neighbours,
    purity,
)
from clamp3.retrieval.space.shape import (
    alignment,
    effective_dimension,
    modality_gap,
    occurrences,
    skewness,
    uniformity,
)
from clamp3.retrieval.vectors import Vectors

COLUMNS_FOUND = 6  # at most, where none are asked for


@dataclass(frozen=True)
class Part:
    """One set of embeddings of the space, such as those of all scores.

    `keys`: what a row shares with its partners in other parts; `facts`: what is known of each row.
    """

    name: str
    vectors: Vectors
    keys: list[str]
    facts: list[Facts]

    def take(self, rows: Sequence[int]) -> "Part":
        """The given rows, in the given order."""
        return replace(
            self,
            vectors=self.vectors.take(rows),
            keys=[self.keys[row] for row in rows],
            facts=[self.facts[row] for row in rows],
        )

    def sample(self, count: int) -> "Part":
        """At most `count` rows, the same pieces in every part of the same pieces."""
        return self if len(self.keys) <= count else self.take(sample_rows(self.keys, count))

    def values(self, column: str) -> list[str | None]:
        """The value of each row in a column of the metadata."""
        return [known.get(column) for known in self.facts]

    def title(self, row: int) -> str:
        """The title of a row's piece, or its id where none is known."""
        return self.facts[row].get(TITLE) or self.vectors.ids[row]


def columns_of(parts: Sequence[Part], settings: SpaceConfig) -> list[str]:
    """The columns asked for in which pieces differ; without a wish those that tell most."""
    facts = [known for part in parts for known in part.facts]
    if not settings.columns:
        keys = [key for part in parts for key in part.keys]
        return telling_columns(facts, keys, COLUMNS_FOUND)
    differ = {
        name: len({known[name] for known in facts if name in known}) > 1
        for name in settings.columns
    }
    return [name for name in settings.columns if differ[name]]


def describe_space(parts: Sequence[Part], settings: SpaceConfig, *, seed: int = 0) -> dict:
    """All figures of a space as JSON values, the same in every run; see docs/evaluation.md.

    `parts` of at most `settings.sample` rows are computed from. `sets`: each part by itself;
    `pairs`: each two parts; `directions`: the neighbours of each part's rows in each part, with
    the purity by column; `pieces`: the nearest of some pieces, asked by the first part.
    """
    columns = columns_of(parts, settings)
    chosen = [part.sample(settings.sample) for part in parts]
    return {
        "columns": columns,
        "neighbours": settings.neighbours,
        "level": LEVEL,
        "sets": [
            _of_part(part, len(whole.keys)) for part, whole in zip(chosen, parts, strict=True)
        ],
        "pairs": [
            _of_pair(first, second, seed)
            for place, first in enumerate(chosen)
            for second in chosen[place + 1 :]
        ],
        **_of_neighbours(chosen, columns, settings, seed),
    }


def _of_part(part: Part, whole: int) -> dict:
    embeddings = part.vectors.embeddings
    return {
        "name": part.name,
        "embeddings": whole,
        "computed_from": len(part.keys),
        "width": int(embeddings.shape[1]),
        "uniformity": rounded(uniformity(embeddings)),
        "effective_dimension": rounded(effective_dimension(embeddings)),
    }


def _of_pair(first: Part, second: Part, seed: int) -> dict:
    sides = first.vectors.embeddings, second.vectors.embeddings
    gap, found = modality_gap(*sides), alignment(*sides, (first.keys, second.keys), seed=seed)
    report = {
        "first": first.name,
        "second": second.name,
        "gap": rounded(gap.distance),
        "gap_by_chance": rounded(gap.by_chance),
        "pairs": found.pairs if found else 0,
    }
    if found:
        report |= {
            "alignment": rounded(found.distance),
            "alignment_interval": rounded_interval(found.interval),
            "alignment_unmatched": rounded(found.unmatched),
            "gap_share": rounded(found.gap_share),
        }
    return report


def _of_neighbours(
    parts: Sequence[Part], columns: Sequence[str], settings: SpaceConfig, seed: int
) -> dict:
    told, of_first = [], {}
    for asking, among in product(parts, parts):
        sides = asking.vectors.embeddings, among.vectors.embeddings
        found = find_neighbours(*sides, (asking.keys, among.keys), settings.neighbours)
        purities = _purities(asking, among, found, columns, seed)
        told.append(_of_direction(asking, among, found) | {"purity": purities})
        if asking is parts[0]:
            of_first[among.name] = (among, found)
    rows = choose_rows(parts[0].keys, settings.pieces)
    return {
        "directions": told,
        "pieces": [_of_piece(parts[0], row, of_first, columns) for row in rows],
    }


def _of_direction(asking: Part, among: Part, found: Neighbours) -> dict:
    counts = occurrences(found.rows, len(among.keys))
    return {
        "asking": asking.name,
        "among": among.name,
        "hubness": rounded(skewness(counts)),
        "never_near": rounded(np.mean(counts == 0)),
    }


def _purities(
    asking: Part, among: Part, found: Neighbours, columns: Sequence[str], seed: int
) -> dict:
    told = {}
    for name in columns:
        values = asking.values(name), among.values(name)
        one = purity(found, (asking.keys, among.keys), values, seed=seed)
        if one:
            told[name] = {
                "share": rounded(one.share),
                "interval": rounded_interval(one.interval),
                "chance": rounded(one.chance),
                "queries": one.queries,
            }
    return told


def _of_piece(
    asking: Part, row: int, found: dict[str, tuple[Part, Neighbours]], columns: Sequence[str]
) -> dict:
    own = {name: asking.facts[row][name] for name in columns if name in asking.facts[row]}
    return {
        "id": asking.vectors.ids[row],
        "title": asking.title(row),
        "asking": asking.name,
        "known": own,
        "nearest": {
            name: [
                _neighbour(among, place, cosine, own)
                for place, cosine in zip(near.rows[row], near.cosines[row], strict=True)
                if place != NOBODY
            ]
            for name, (among, near) in found.items()
        },
    }


def _neighbour(among: Part, row: int, cosine: float, own: Facts) -> dict:
    return {
        "id": among.vectors.ids[row],
        "title": among.title(row),
        "similarity": rounded(cosine),
        "shared": {
            name: value for name, value in own.items() if among.facts[row].get(name) == value
        },
    }
