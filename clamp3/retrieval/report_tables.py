"""The report's tables: retrieval with chance beside it, one model against another, the books."""

from collections.abc import Iterator

from clamp3.retrieval import plots
from clamp3.retrieval.comparison import COLLECTION_NAMES, row_name, rows_of
from clamp3.retrieval.page import Html, element, figure, note, section, table


def retrieval_section(evaluation: dict) -> Html:
    """All figures of one model, as `evaluate_model` gave them."""
    hits = [f"hit@{k}" for k in evaluation["hits_at"]]
    head = ["direction", "queries", "references", "MRR", "chance"]
    for k in evaluation["hits_at"]:
        head += [f"Hit@{k}", "chance"]
    rows = []
    for row in rows_of(evaluation):
        mrr = f"{row['mrr']:.3f} ± {row['mrr_standard_error']:.3f}"
        cells = [row_name(row), row["queries"], row["references"], mrr, _chance(row, "mrr")]
        for name in hits:
            cells += [f"{row[name]:.3f}", _chance(row, name)]
        rows.append([*cells, f"{row['median_rank']:g}"])
    return section(
        "Held-out retrieval",
        table([*head, "median rank"], rows),
        note(
            "MRR is the mean of 1/rank of the right answer, with its standard error; Hit@k the "
            f"share of queries with the right answer among the first k. {evaluation['tie_rule']} "
            "Chance is the same figure for a random order of the same references."
        ),
    )


def comparison_section(comparison: dict) -> Html:
    """The directions that adapters touch, with and without them; nothing where there are none."""
    rows = [row for row in rows_of(comparison) if "adapted" in row]
    if not rows:
        return Html("")
    names, at = comparison["names"], f"hit@{max(comparison['hits_at'])}"
    bars = {names[side]: [row[side]["mrr"] for row in rows] for side in ("baseline", "adapted")}
    drawing = plots.bar_figure(
        [row_name(row) for row in rows], bars, [row["chance"]["mrr"] for row in rows], "MRR"
    )
    head = ["direction"]
    for label in ("MRR", at.capitalize()):
        head += [f"{label} {names['baseline']}", f"{label} {names['adapted']}", "difference"]
    lines = []
    for row in rows:
        cells: list[object] = [row_name(row)]
        for name in ("mrr", at):
            cells += [f"{row[side][name]:.3f}" for side in ("baseline", "adapted")]
            cells.append(f"{row['difference'][name]:+.3f}")
        lines.append(cells)
    return section(
        f"{names['adapted']} against {names['baseline']}",
        table(head, lines),
        figure(drawing, "MRR with and without adapters; the tick is chance."),
        note("Directions that no adapter touches are left out."),
    )


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
            if not isinstance(row, dict) or not {"in", "out", "rejected"} <= row.keys():
                continue
            if row["in"]:
                rejected = {
                    f"{stage} {kind}": count
                    for stage, kinds in row["rejected"].items()
                    for kind, count in kinds.items()
                }
                yield row | {
                    "collection": collection,
                    "modality": modality,
                    "rejected": rejected,
                }


def _chance(row: dict, name: str) -> Html:
    return element("span", f"{row['chance'][name]:.3f}", class_="chance")
