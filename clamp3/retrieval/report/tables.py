"""The report's tables: retrieval with chance beside it, one model against another, the books."""

from collections.abc import Iterator

from clamp3.retrieval.evaluation.comparison import (
    COLLECTION_NAMES,
    SIDES,
    difference_cell,
    p_cell,
    row_name,
    rows_of,
    shown_hit,
    with_interval,
)
from clamp3.retrieval.evaluation.figures import GAIN
from clamp3.retrieval.report import plots
from clamp3.retrieval.report.html import Html, chance, figure, note, section, table


def retrieval_section(evaluation: dict) -> Html:
    """All figures of one model, as `evaluate_model` gave them."""
    names = [f"hit@{k}" for k in evaluation["hits_at"]]
    hits = [name for name in names if any(_is_open(row, name) for row in rows_of(evaluation))]
    head = ["direction", "queries", "references", "MRR [95 %]", "chance"]
    for name in (*hits, GAIN):
        head += [_title(name), "chance"]
    rows = []
    for row in rows_of(evaluation):
        cells = [row_name(row), row["queries"], row["references"], with_interval(row, "mrr")]
        level = row["chance"]
        cells.append(chance(level["mrr"]))
        for name in (*hits, GAIN):
            told = [f"{row[name]:.3f}", chance(level[name])]
            cells += told if _is_open(row, name) else ["", ""]
        rows.append([*cells, f"{row['median_rank']:g}"])
    return section(
        "Held-out retrieval",
        table([*head, "median rank"], rows),
        _languages(evaluation),
        note(
            "MRR is the mean of 1/rank of the right answer, with a 95 % bootstrap interval over "
            "pieces; Hit@k the share of queries with the right answer among the first k (empty "
            "where there are no more than k references); nDCG@10 counts an answer at rank r as "
            f"1/log2(1 + r), up to rank 10. {evaluation['tie_rule']} "
            "Chance is the same figure for a random order of the same references."
        ),
    )


def comparison_section(comparison: dict) -> Html:
    """The directions that adapters touch, with and without them; nothing where there are none."""
    rows = [row for row in rows_of(comparison) if "adapted" in row]
    if not rows:
        return Html("")
    names, hit = comparison["names"], f"hit@{shown_hit(comparison['hits_at'])}"
    bars = {names[side]: [row[side]["mrr"] for row in rows] for side in SIDES}
    drawing = plots.bar_figure(
        [row_name(row) for row in rows], bars, [row["chance"]["mrr"] for row in rows], "MRR"
    )
    head = ["direction"]
    for name in ("mrr", hit, GAIN):
        head += [*(f"{_title(name)} {names[side]}" for side in SIDES), "difference", "p"]
    lines = []
    for row in rows:
        cells: list[object] = [row_name(row)]
        for name in ("mrr", hit, GAIN):
            cells += [f"{row[side][name]:.3f}" for side in SIDES]
            cells += [difference_cell(row, name), p_cell(row, name)]
        lines.append(cells)
    return section(
        f"{names['adapted']} against {names['baseline']}",
        table(head, lines),
        figure(drawing, "MRR with and without adapters; the tick is chance."),
        note(f"{comparison['test']} Directions that no adapter touches are left out."),
    )


def _languages(evaluation: dict) -> Html:
    """MRR by the language of the query, where there are several."""
    lines = [
        [row_name(row), name, part["queries"], with_interval(part, "mrr"), chance(level["mrr"])]
        for row in rows_of(evaluation)
        for name, part in row.get("languages", {}).items()
        for level in [part["chance"]]
    ]
    return table(["direction", "language", "queries", "MRR [95 %]", "chance"], lines)


def _is_open(row: dict, name: str) -> bool:
    """Whether a figure can fall short: Hit@k is certain where the gallery has no more than k."""
    return not name.startswith("hit@") or int(name.removeprefix("hit@")) < row["references"]


def _title(name: str) -> str:
    """A figure's name for people."""
    return {"mrr": "MRR", GAIN: "nDCG@10"}.get(name, name.capitalize())


def counts_section(counts: dict) -> Html:
    """Pieces in, out to each split, and rejected, from the manifests' counts.json."""
    rows = list(_count_rows(counts))
    splits = list(dict.fromkeys(split for row in rows for split in row["out"]))
    lines = [
        [
            f"{COLLECTION_NAMES.get(row['collection'], row['collection'])}, {row['modality']}",
            row["in"],
            *(row["out"].get(split, "") for split in splits),
            sum(row["rejected"].values()),
            ", ".join(f"{kind}: {count}" for kind, count in row["rejected"].items()),
        ]
        for row in rows
    ]
    return section(
        "What went in",
        table(["pieces", "in", *splits, "rejected", "why"], lines),
        note(
            "In = out to the splits + rejected. Models learn from train, validation chooses the "
            "epoch, and figures are told of test."
        ),
    )


def _count_rows(counts: dict) -> Iterator[dict]:
    """One row for each collection and modality; rejects by `stage kind`."""
    for collection, books in counts.items():
        for modality, row in books.items():
            is_book = isinstance(row, dict) and {"in", "out", "rejected"} <= row.keys()
            if is_book and row["in"]:
                rejected = {
                    f"{stage} {kind}": count
                    for stage, kinds in row["rejected"].items()
                    for kind, count in kinds.items()
                }
                yield row | {"collection": collection, "modality": modality, "rejected": rejected}
