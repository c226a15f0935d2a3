"""One model against another on the same held-out pieces, and the figures as lines and tables."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from clamp3.errors import DataError
from clamp3.files import write_json, write_text

COLLECTION_NAMES = {"pdmx": "PDMX", "wikimt_x": "WikiMT-X", "midicaps": "MidiCaps"}
ADAPTED = ("abc", "mtf")  # modalities whose vectors an adapter changes


def read_evaluation(path: Path) -> dict:
    """What `evaluate_model` wrote. Raises DataError for another file."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        report["collections"], report["hits_at"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the results of an evaluation ({error!r})") from error
    return report


def rows_of(report: dict) -> Iterator[dict]:
    """One flat dict per direction: collection, direction, then the figures."""
    for collection, result in report["collections"].items():
        for direction, figures in result["directions"].items():
            yield {"collection": collection, "direction": direction} | figures


def direction_name(row: dict) -> str:
    """Such as `text → abc`; with the text field where that is not plain `text`."""
    query, _, reference = row["direction"].partition("_to_")
    names = [query, reference]
    fields = [f"text ({name})" if name == row["text_field"] else name for name in names]
    return " → ".join(fields)


def compare_models(
    baseline: Path, adapted: Path, out: Path, table: Path, *, names: tuple[str, str]
) -> dict:
    """Write both models' figures and their differences as JSON and as a Markdown table.

    Only directions from or to what an adapter changes. Positive differences mean that the
    adapted model is better; ranks are left out.

    Raises DataError when the two were not evaluated on the same queries and references.
    """
    first, second = read_evaluation(baseline), read_evaluation(adapted)
    rows = [_compared(a, b) for a, b in _shared(first, second)]
    if not rows:
        raise DataError(f"{baseline} and {adapted} share no direction to compare")
    comparison = {
        "baseline": names[0],
        "adapted": names[1],
        "tie_rule": first["tie_rule"],
        "rows": rows,
    }
    write_json(out, comparison)
    write_text(table, comparison_table(comparison))
    return comparison


def comparison_table(comparison: dict) -> str:
    """The comparison as a Markdown table with a note on what the numbers are."""
    head = ["collection", "direction", "queries", "references", "chance MRR"]
    head += [f"MRR {comparison['baseline']}", f"MRR {comparison['adapted']}", "difference"]
    lines = [_line(head), _line(["---"] * 2 + ["---:"] * (len(head) - 2))]
    for row in comparison["rows"]:
        counts = [row["collection"], direction_name(row), row["queries"], row["references"]]
        numbers = [row["chance"]["mrr"], row["baseline"]["mrr"], row["adapted"]["mrr"]]
        cells = counts + [f"{n:.4f}" for n in numbers] + [f"{row['difference']['mrr']:+.4f}"]
        lines.append(_line(cells))
    note = f"Held-out pieces. {comparison['tie_rule']}"
    return "\n".join(lines) + f"\n\n{note}\n"


def evaluation_table(report: dict) -> str:
    """All figures of one model as tab-separated values."""
    hits = [f"hit@{k}" for k in report["hits_at"]]
    columns = ["collection", "direction", "text_field", "queries", "references", "mrr"]
    columns += ["mrr_standard_error", *hits, "median_rank", "mean_rank"]
    head = [*columns, "chance_mrr", *(f"chance_{name}" for name in hits)]
    lines = ["\t".join(head)]
    for row in rows_of(report):
        cells = [row[name] for name in columns]
        cells += [row["chance"][name] for name in ["mrr", *hits]]
        lines.append("\t".join("" if cell is None else str(cell) for cell in cells))
    return "\n".join(lines) + "\n"


def summary(evaluation: Path, comparison: Path | None = None) -> list[str]:
    """What a person reads at the end of a run: held-out MRR and hits with chance beside them."""
    report = read_evaluation(evaluation)
    at = max(report["hits_at"])
    lines = ["Held-out retrieval (chance in brackets):"]
    width = max(len(direction_name(row)) for row in rows_of(report))
    for row in rows_of(report):
        name = COLLECTION_NAMES.get(row["collection"], row["collection"])
        chance = row["chance"]
        lines.append(
            f"  {name:<9} {direction_name(row):<{width}}  "
            f"MRR {row['mrr']:.3f} ({chance['mrr']:.3f})  "
            f"Hit@{at} {row[f'hit@{at}']:.2f} ({chance[f'hit@{at}']:.2f})  "
            f"among {row['references']}"
        )
    return lines + ([] if comparison is None else _comparison_lines(comparison))


def _comparison_lines(path: Path) -> list[str]:
    comparison = json.loads(Path(path).read_text(encoding="utf-8"))
    lines = [f"{comparison['adapted']} against {comparison['baseline']} (MRR):"]
    for row in comparison["rows"]:
        name = COLLECTION_NAMES.get(row["collection"], row["collection"])
        both = f"{row['baseline']['mrr']:.3f} → {row['adapted']['mrr']:.3f}"
        change = f"{row['difference']['mrr']:+.3f}"
        lines.append(f"  {name:<9} {direction_name(row)}: {both} ({change})")
    return lines


def _shared(first: dict, second: dict) -> Iterator[tuple[dict, dict]]:
    others = {(row["collection"], row["direction"]): row for row in rows_of(second)}
    for row in rows_of(first):
        other = others.get((row["collection"], row["direction"]))
        if other is None or not {row["query"], row["reference"]} & set(ADAPTED):
            continue
        for name in ("queries", "references", "text_field"):
            if row[name] != other[name]:
                raise DataError(
                    f"{row['collection']} {row['direction']}: {name} {row[name]} in one evaluation "
                    f"and {other[name]} in the other; evaluate both on the same pieces"
                )
        yield row, other


def _compared(baseline: dict, adapted: dict) -> dict:
    figures = [name for name in baseline["chance"] if name != "mean_rank"]
    header = ("collection", "direction", "query", "reference", "text_field", "queries")
    return {name: baseline[name] for name in (*header, "references", "chance")} | {
        "baseline": {name: baseline[name] for name in figures},
        "adapted": {name: adapted[name] for name in figures},
        "difference": {name: round(adapted[name] - baseline[name], 6) for name in figures},
    }


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
