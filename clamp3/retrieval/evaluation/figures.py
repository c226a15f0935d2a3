"""One retrieval task: who asks whom, where the right answers stand, and the figures of that.

The gallery is every reference, with or without a query; queries without a right reference are left
out. Figures are told under both rules for ties (see `metrics`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.evaluation.intervals import LEVEL, mean_intervals, median_interval
from clamp3.retrieval.evaluation.metrics import Ranking, Ties, summarise
from clamp3.retrieval.evaluation.ranking import GAIN_AT, Placed, chance_gain, rank_groups, with_ties
from clamp3.retrieval.keys import NO_KEY, Groups, group, keys_of
from clamp3.retrieval.vectors import Vectors, refuse_two_models

HITS_AT = (1, 5, 10, 100)
GAIN = f"ndcg@{GAIN_AT}"
DIGITS = 6
SHOWN = 3  # of the keys of each side where none agree
RULES: tuple[Ties, ...] = ("mean", "optimistic")


@dataclass(frozen=True)
class Task:
    """How queries and references are compared.

    `by`: see `keys_of`; `matched_only`: references that no query asks for leave the gallery;
    `ties`: the rule of intervals, test and saved ranks; `per`: queries are told apart by this, too
    (as `by`).
    """

    by: str = "name"
    hits_at: Sequence[int] = HITS_AT
    ties: Ties = "mean"
    matched_only: bool = False
    per: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not self.hits_at or min(self.hits_at) < 1:
            raise ConfigError("hits are counted at ranks from 1, at least at one")


@dataclass(frozen=True)
class Ranked:
    """One task done: the two sides, who belongs together, and where everything stands."""

    queries: Vectors
    references: Vectors
    groups: Groups
    placed: Placed

    @property
    def clusters(self) -> np.ndarray:
        """The key's number of each matched query."""
        return self.groups.queries[self.placed.rows]


def rank(queries: Vectors, references: Vectors, task: Task) -> Ranked:
    """Where the right references of the queries stand.

    Raises DataError where no query has a right reference, or the sides are of two models.
    """
    refuse_two_models(queries, references)
    keys = keys_of(queries, task.by), keys_of(references, task.by)
    groups = group(*keys)
    if groups.keys in ([], [""]):
        raise DataError(
            f"no pairs by {task.by}: the keys of queries are such as {some(keys[0])}, those of "
            f"references such as {some(keys[1])}"
        )
    gallery = references
    if task.matched_only:
        kept = np.flatnonzero(groups.references != NO_KEY)
        gallery = references.take(kept)
        groups = Groups(groups.queries, groups.references[kept], groups.keys)
    placed = rank_groups(queries.embeddings, gallery.embeddings, groups)
    return Ranked(queries, gallery, groups, placed)


def figures_of(ranked: Ranked, task: Task) -> dict:
    """Figures under both rules for ties, intervals under the task's, and chance.

    A hit among as many as the gallery holds is certain, and has no interval.
    """
    placed = ranked.placed
    summaries = {}
    for ties in RULES:
        summaries[ties] = summarise(with_ties(placed.ranking, ties), task.hits_at)
        summaries[ties][GAIN] = float(np.mean(_gain(placed, ties)))
    chance = summaries["mean"]["chance"]
    chance[GAIN] = chance_gain(placed.ranking.references, placed.ranking.right)
    names = ["mrr", *(f"hit@{k}" for k in task.hits_at), GAIN, "median_rank", "mean_rank"]
    return {
        "figures": {
            ties: {name: rounded(summary[name]) for name in names}
            for ties, summary in summaries.items()
        },
        "intervals": {"level": LEVEL} | _intervals(ranked, task),
        "chance": {name: rounded(chance[name]) for name in names if name in chance},
    }


def parts_of(ranked: Ranked, task: Task) -> dict:
    """The figures of the queries of each value of `task.per`, in the same gallery; sorted."""
    values = np.array(keys_of(ranked.queries, task.per))[ranked.placed.rows]
    found = {}
    for value in np.unique(values):
        places = np.flatnonzero(values == value)
        part = replace(ranked, placed=ranked.placed.take(places))
        found[str(value)] = {"matched_queries": len(places)} | figures_of(part, task)
    return found


def rank_table(ranked: Ranked, ties: Ties) -> pa.Table:
    """A table with a row for each matched query, in the order of the queries.

    Columns: query, key, reference (the best right one), right (how many are right), similarity,
    better and tied (wrong references above, and references level, the right one counted), rank,
    reciprocal_rank and ndcg@10 under the rule for ties.
    """
    placed = ranked.placed
    ranking = with_ties(placed.ranking, ties)
    table = pa.table(
        {
            "query": [ranked.queries.ids[row] for row in placed.rows],
            "key": [ranked.groups.keys[key] for key in ranked.clusters],
            "reference": [ranked.references.ids[row] for row in placed.best],
            "right": ranking.right,
            "similarity": placed.similarity,
            "better": ranking.better,
            "tied": placed.ranking.tied,
            "rank": ranking.ranks,
            "reciprocal_rank": ranking.reciprocal_ranks,
            GAIN: _gain(placed, ties),
        }
    )
    return table.replace_schema_metadata({"ties": ties})


def _gain(placed: Placed, ties: Ties) -> np.ndarray:
    return placed.gain if ties == "mean" else placed.first_gain


def _intervals(ranked: Ranked, task: Task) -> dict:
    ranking: Ranking = with_ties(ranked.placed.ranking, task.ties)
    shares = {"mrr": ranking.reciprocal_ranks, GAIN: _gain(ranked.placed, task.ties)}
    shares |= {f"hit@{k}": ranking.hits(k) for k in task.hits_at if k < ranking.references}
    columns, clusters = np.stack(list(shares.values()), axis=1), ranked.clusters
    found = mean_intervals(columns, clusters, shares=True, seed=task.seed)
    found += mean_intervals(ranking.ranks[:, None], clusters, seed=task.seed)
    intervals = dict.fromkeys(["mrr", *(f"hit@{k}" for k in task.hits_at)])
    intervals |= zip([*shares, "mean_rank"], map(rounded_interval, found), strict=True)
    median = median_interval(ranking.ranks, ranked.clusters, seed=task.seed)
    return intervals | {"median_rank": rounded_interval(median)}


def some(names: Iterable[str]) -> str:
    """The first few of them, for a message."""
    return ", ".join(repr(name) for name in list(dict.fromkeys(names))[:SHOWN])


def rounded(value: float | None) -> float | None:
    """To `DIGITS` decimals: what lies beyond is noise and would show as a change."""
    return None if value is None else round(float(value), DIGITS)


def rounded_interval(interval: tuple[float, float] | None) -> list[float] | None:
    """Both ends rounded; None where there is no interval."""
    return None if interval is None else [rounded(end) for end in interval]


def interval_text(interval: Sequence[float] | None) -> str:
    """Both ends for people; empty where there is no interval."""
    return f"{interval[0]:.4f} … {interval[1]:.4f}" if interval else ""
