"""What `clamp3 evaluate` does: figures of one retrieval task with intervals, against another model.

Queries without a right reference, and references that no query asks for, are counted and listed.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from clamp3.errors import DataError
from clamp3.files import write_table
from clamp3.retrieval.evaluation.figures import (
    RULES,
    Ranked,
    Task,
    figures_of,
    interval_text,
    parts_of,
    rank,
    rank_table,
    rounded,
    rounded_interval,
    some,
)
from clamp3.retrieval.evaluation.intervals import paired_difference
from clamp3.retrieval.evaluation.metrics import TIE_RULE
from clamp3.retrieval.evaluation.ranking import with_ties
from clamp3.retrieval.keys import NO_KEY, keys_of
from clamp3.retrieval.vector_files import Read, read_embeddings
from clamp3.retrieval.vectors import Vectors

PAIRED_TEST = (
    "sign-flip permutation test on reciprocal ranks, two-sided, one draw for each key; the "
    "difference is second minus first, its interval a bootstrap (BCa) over keys"
)


def evaluate(
    queries: Path | str,
    references: Path | str,
    task: Task,
    *,
    against: tuple[Path | str, Path | str] | None = None,
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
    report |= figures_of(ranked, task) | _left_out(ranked, sides, task)
    if task.per:
        report["per"] = {"of": task.per, "parts": parts_of(ranked, task)}
    if against:
        others = [read_embeddings(path).vectors for path in against]
        report["against"] = {"queries": str(against[0]), "references": str(against[1])}
        report["against"] |= compare((sides[0].vectors, sides[1].vectors), tuple(others), task)
    if ranks:
        write_table(ranks, rank_table(ranked, task.ties))
    return report


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
        "mrr": [rounded(values.mean()) for values in reciprocal],
        "difference": rounded(found.mean),
        "interval": rounded_interval(found.interval),
        "p_value": rounded(found.p_value),
    }


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
        interval = interval_text(report["intervals"].get(name))
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
            f"{interval_text(part['intervals']['mrr']):>19} {part['chance']['mrr']:>9.4f}"
        )
    return found


def _against_lines(versus: dict) -> list[str]:
    first, second = versus["mrr"]
    return [
        f"against {versus['queries']}, {versus['references']}: on {versus['common_queries']} "
        f"queries and {versus['common_references']} references that both have",
        f"MRR {first:.4f} here, {second:.4f} there: difference {versus['difference']:+.4f}, "
        f"95 % interval {interval_text(versus['interval']) or 'none'}, p = {versus['p_value']:.4f}",
        f"({versus['test']})",
    ]


def _left_out(ranked: Ranked, sides: Sequence[Read], task: Task) -> dict:
    queries, references = (side.vectors.ids for side in sides)
    keys = set(ranked.groups.keys)
    asked = [key in keys for key in keys_of(sides[1].vectors, task.by)]
    lone = {
        "queries": [queries[row] for row in np.flatnonzero(ranked.groups.queries == NO_KEY)],
        "references": [name for name, used in zip(references, asked, strict=True) if not used],
    }
    refused = {
        name: side.refusals for name, side in zip(("queries", "references"), sides, strict=True)
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
            f"the two models have nothing in common: ids such as {some(first.ids)} and "
            f"{some(second.ids)}; embed the same files with both"
        )
    return [row for row, _ in rows], [row for _, row in rows]


def _names(vectors: Vectors, labels: Sequence[str], *, whole: bool) -> list[tuple]:
    """What each row is called; the n-th of one name is told from the others by its number."""
    seen: Counter = Counter()
    names = []
    # The originals' layout has no suffix to take away: its .npy is gone already.
    whole = whole or not vectors.origin.space
    for row, name in enumerate(vectors.ids):
        stem = name if whole else str(PurePosixPath(name).with_suffix(""))
        key = (stem, *(vectors.labels[label][row] for label in labels))
        names.append((*key, seen[key]))
        seen[key] += 1
    return names
