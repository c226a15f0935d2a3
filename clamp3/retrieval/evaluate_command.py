"""What `clamp3 evaluate` does: figures of one retrieval task with intervals, against another model.

The gallery is every reference, with or without a query; queries without a right reference are
counted and listed. Figures are told under both rules for ties (see `metrics`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from clamp3.errors import ConfigError, DataError
from clamp3.files import write_table
from clamp3.retrieval.intervals import (
    LEVEL,
    mean_intervals,
    median_interval,
    paired_difference,
)
from clamp3.retrieval.keys import NO_KEY, Groups, group, keys_of
from clamp3.retrieval.metrics import TIE_RULE, Ranking, Ties, summarise
from clamp3.retrieval.ranking import Placed, chance_gain, rank_groups, with_ties
from clamp3.retrieval.vector_files import Read, read_embeddings, refuse_two_models
from clamp3.retrieval.vectors import Vectors

HITS_AT = (1, 5, 10, 100)
DIGITS = 6
SHOWN = 3  # of the keys of each side where none agree
RULES: tuple[Ties, ...] = ("mean", "optimistic")
PAIRED_TEST = (
    "sign-flip permutation test on reciprocal ranks, two-sided, one draw for each key; the "
    "difference is second minus first, its interval a bootstrap (BCa) over keys"
)


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


def evaluate(
    queries: Path,
    references: Path,
    task: Task,
    *,
    against: tuple[Path, Path] | None = None,
    ranks: Path | None = None,
) -> dict:
    """The report of one retrieval task: JSON values, the same in every run.

    `against`: the same task with another model's embeddings; the two are compared on what both
    have. `ranks`: a Parquet file to write with a row for each matched query.

    Raises DataError where nothing can be ranked, ConfigError for a key that is not there.
    """
    sides = read_embeddings(queries), read_embeddings(references)
    ranked = rank(sides[0].vectors, sides[1].vectors, task)
    report = {
        "queries": str(queries),
        "references": str(references),
        "by": task.by,
        "gallery": "matched references" if task.matched_only else "all references",
        "tie_rule": TIE_RULE,
        "ties": task.ties,
    }
    report |= figures(ranked, task) | _left_out(ranked, sides, task)
    if task.per:
        report["per"] = {"of": task.per, "parts": _parts(ranked, task)}
    if against:
        others = [read_embeddings(path).vectors for path in against]
        report["against"] = {"queries": str(against[0]), "references": str(against[1])}
        report["against"] |= compare((sides[0].vectors, sides[1].vectors), tuple(others), task)
    if ranks:
        write_ranks(ranks, ranked, task.ties)
    return report


def rank(queries: Vectors, references: Vectors, task: Task) -> Ranked:
    """Where the right references of the queries stand.

    Raises DataError where no query has a right reference, or the sides are of two models.
    """
    refuse_two_models(queries, references)
    keys = keys_of(queries, task.by), keys_of(references, task.by)
    groups = group(*keys)
    if groups.keys in ([], [""]):
        raise DataError(
            f"no pairs by {task.by}: the keys of queries are such as {_some(keys[0])}, those of "
            f"references such as {_some(keys[1])}"
        )
    gallery = references
    if task.matched_only:
        kept = np.flatnonzero(groups.references != NO_KEY)
        gallery = references.take(kept)
        groups = Groups(groups.queries, groups.references[kept], groups.keys)
    placed = rank_groups(queries.embeddings, gallery.embeddings, groups)
    return Ranked(queries, gallery, groups, placed)


def figures(ranked: Ranked, task: Task) -> dict:
    """Figures under both rules for ties, intervals under the task's, and chance.

    A hit among as many as the gallery holds is certain, and has no interval.
    """
    placed = ranked.placed
    summaries = {}
    for ties in RULES:
        summaries[ties] = summarise(with_ties(placed.ranking, ties), task.hits_at)
        summaries[ties]["ndcg"] = float(np.mean(_gain(placed, ties)))
    chance = summaries["mean"]["chance"]
    chance["ndcg"] = chance_gain(placed.ranking.references, placed.ranking.right)
    names = ["mrr", *(f"hit@{k}" for k in task.hits_at), "ndcg", "median_rank", "mean_rank"]
    return {
        "figures": {
            ties: {name: round(summary[name], DIGITS) for name in names}
            for ties, summary in summaries.items()
        },
        "intervals": {"level": LEVEL} | _intervals(ranked, task),
        "chance": {name: round(chance[name], DIGITS) for name in names if name in chance},
    }


def compare(first: tuple[Vectors, Vectors], second: tuple[Vectors, Vectors], task: Task) -> dict:
    """Second against first, as (queries, references), on the rows that both models have.

    Rows are the same where ids and shared labels are, or, where no ids agree, ids without their
    last suffix. Raises DataError where nothing is common.
    """
    common = [_common(one, other) for one, other in zip(first, second, strict=True)]
    runs = [
        rank(*(side.take(rows[model]) for side, rows in zip(sides, common, strict=True)), task)
        for model, sides in enumerate((first, second))
    ]
    rankings = [with_ties(run.placed.ranking, task.ties) for run in runs]
    reciprocal = [ranking.reciprocal_ranks for ranking in rankings]
    found = paired_difference(*reciprocal, runs[0].clusters, seed=task.seed)
    return {
        "test": PAIRED_TEST,
        "common_queries": len(runs[0].placed.rows),
        "common_references": len(runs[0].references.ids),
        "mrr": [_rounded(values.mean()) for values in reciprocal],
        "difference": _rounded(found.mean),
        "interval": _rounded_interval(found.interval),
        "p_value": _rounded(found.p_value),
    }


def write_ranks(path: Path, ranked: Ranked, ties: Ties) -> None:
    """A table with a row for each matched query, in the order of the queries.

    Columns: query, key, reference (the best right one), right (how many are right), similarity,
    better and tied (wrong references above, and references level, the right one counted), rank,
    reciprocal_rank and ndcg under the rule for ties.
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
            "ndcg": _gain(placed, ties),
        }
    )
    write_table(path, table.replace_schema_metadata({"ties": ties}))


def lines(report: dict) -> list[str]:
    """The report as a person reads it."""
    counts, ties = report["counts"], report["ties"]
    other = next(rule for rule in RULES if rule != ties)
    found = [
        f"queries      {counts['matched_queries']} of {counts['queries']} with a right reference",
        f"references   {counts['gallery']} in the gallery ({report['gallery']}), "
        f"{counts['unmatched_references']} of {counts['references']} without a query",
        "",
        f"{'':<12} {ties + ' ties':>15} {'95 % interval':>19} {other + ' ties':>15} {'chance':>9}",
    ]
    for name, value in report["figures"][ties].items():
        interval = _range(report["intervals"].get(name))
        line = f"{name.replace('_', ' '):<12} {value:>15.4f} {interval:>19} "
        line += f"{report['figures'][other][name]:>15.4f}"
        chance = report["chance"].get(name)
        found.append(line if chance is None else f"{line} {chance:>9.4f}")
    if "per" in report:
        found += ["", *_part_lines(report["per"], ties)]
    if "against" in report:
        found += ["", *_against_lines(report["against"])]
    return [line.rstrip() for line in found]


def _part_lines(per: dict, ties: str) -> list[str]:
    found = [
        f"{'by ' + per['of']:<24} {'queries':>8} {'mrr':>8} {'95 % interval':>19} {'chance':>9}"
    ]
    for value, part in per["parts"].items():
        found.append(
            f"{value:<24} {part['matched_queries']:>8} {part['figures'][ties]['mrr']:>8.4f} "
            f"{_range(part['intervals']['mrr']):>19} {part['chance']['mrr']:>9.4f}"
        )
    return found


def _against_lines(versus: dict) -> list[str]:
    first, second = versus["mrr"]
    return [
        f"against {versus['queries']}, {versus['references']}: on {versus['common_queries']} "
        f"queries and {versus['common_references']} references that both have",
        f"MRR {first:.4f} here, {second:.4f} there: difference {versus['difference']:+.4f}, "
        f"95 % interval {_range(versus['interval']) or 'none'}, p = {versus['p_value']:.4f}",
        f"({versus['test']})",
    ]


def _range(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.4f} … {interval[1]:.4f}" if interval else ""


def _gain(placed: Placed, ties: Ties) -> np.ndarray:
    return placed.gain if ties == "mean" else placed.first_gain


def _intervals(ranked: Ranked, task: Task) -> dict:
    ranking: Ranking = with_ties(ranked.placed.ranking, task.ties)
    shares = {"mrr": ranking.reciprocal_ranks, "ndcg": _gain(ranked.placed, task.ties)}
    shares |= {f"hit@{k}": ranking.hits(k) for k in task.hits_at if k < ranking.references}
    columns, clusters = np.stack(list(shares.values()), axis=1), ranked.clusters
    found = mean_intervals(columns, clusters, shares=True, seed=task.seed)
    found += mean_intervals(ranking.ranks[:, None], clusters, seed=task.seed)
    intervals = dict.fromkeys(["mrr", *(f"hit@{k}" for k in task.hits_at)])
    intervals |= zip([*shares, "mean_rank"], map(_rounded_interval, found), strict=True)
    median = median_interval(ranking.ranks, ranked.clusters, seed=task.seed)
    return intervals | {"median_rank": _rounded_interval(median)}


def _parts(ranked: Ranked, task: Task) -> dict:
    """The figures of the queries of each value, in the same gallery; values sorted."""
    values = np.array(keys_of(ranked.queries, task.per))[ranked.placed.rows]
    parts = {}
    for value in np.unique(values):
        places = np.flatnonzero(values == value)
        part = replace(ranked, placed=ranked.placed.take(places))
        parts[str(value)] = {"matched_queries": len(places)} | figures(part, task)
    return parts


def _left_out(ranked: Ranked, sides: Sequence[Read], task: Task) -> dict:
    queries, references = (side.vectors.ids for side in sides)
    keys = set(ranked.groups.keys)
    asked = [key in keys for key in keys_of(sides[1].vectors, task.by)]
    lone = {
        "queries": [queries[row] for row in np.flatnonzero(ranked.groups.queries == NO_KEY)],
        "references": [name for name, used in zip(references, asked, strict=True) if not used],
    }
    refused = {
        name: [{"file": file, "reason": reason} for file, reason in side.refused]
        for name, side in zip(("queries", "references"), sides, strict=True)
    }
    counts = {
        "queries": len(queries),
        "references": len(references),
        "matched_queries": len(ranked.placed.rows),
        "gallery": len(ranked.references.ids),
        "keys": len(keys),
        "unmatched_queries": len(lone["queries"]),
        "unmatched_references": len(lone["references"]),
        "refused_queries": len(refused["queries"]),
        "refused_references": len(refused["references"]),
    }
    return {"counts": counts, "unmatched": lone, "refused": refused}


def _common(first: Vectors, second: Vectors) -> tuple[list[int], list[int]]:
    """The rows that are the same in both."""
    labels = sorted(first.labels.keys() & second.labels.keys())
    names = [_names(vectors, labels, whole=True) for vectors in (first, second)]
    if not set(names[0]) & set(names[1]):
        names = [_names(vectors, labels, whole=False) for vectors in (first, second)]
    places = {name: row for row, name in enumerate(names[1])}
    rows = [(row, places[name]) for row, name in enumerate(names[0]) if name in places]
    if not rows:
        raise DataError(
            f"the two models have nothing in common: ids such as {_some(first.ids)} and "
            f"{_some(second.ids)}; embed the same files with both"
        )
    return [row for row, _ in rows], [row for _, row in rows]


def _names(vectors: Vectors, labels: Sequence[str], *, whole: bool) -> list[tuple]:
    """What each row is called; the n-th of one name is told from the others by its number."""
    seen: Counter = Counter()
    names = []
    for row, name in enumerate(vectors.ids):
        # The originals' layout has no suffix to take away: its .npy is gone already.
        stem = (
            name if whole or not vectors.origin.space else str(PurePosixPath(name).with_suffix(""))
        )
        key = (stem, *(vectors.labels[label][row] for label in labels))
        names.append((*key, seen[key]))
        seen[key] += 1
    return names


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in list(dict.fromkeys(names))[:SHOWN])


def _rounded(value: float) -> float:
    return round(float(value), DIGITS)


def _rounded_interval(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [_rounded(end) for end in interval]
