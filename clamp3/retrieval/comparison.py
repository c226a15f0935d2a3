"""One model against another on the same held-out pieces, and the figures as lines and tables."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from clamp3.errors import DataError
from clamp3.files import write_json, write_text

COLLECTION_NAMES = {"pdmx": "PDMX", "wikimt_x": "WikiMT-X", "midicaps": "MidiCaps"}
ADAPTED = frozenset({"abc", "mtf"})  # modalities whose vectors an adapter changes
SHARED = ("query", "reference", "text_field", "queries", "references")
DIGITS = 6


def read_evaluation(path: Path) -> dict:
    """What `evaluate_model` or `compare_models` wrote. Raises DataError for another file."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        report["collections"], report["hits_at"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the results of an evaluation ({error!r})") from error
    return report


def rows_of(report: dict) -> Iterator[dict]:
    """Yield one dict per direction: collection and direction, then what the report says of it."""
    for collection, directions in report["collections"].items():
        for direction, figures in directions.items():
            yield {"collection": collection, "direction": direction} | figures


def row_name(row: dict) -> str:
    """Such as `PDMX, text → abc`; with the text field where several were evaluated."""
    names = [
        f"text ({name})" if name == row["text_field"] else name
        for name in row["direction"].split("_to_")
    ]
    collection = COLLECTION_NAMES.get(row["collection"], row["collection"])
    return f"{collection}, {' → '.join(names)}"


def compare_models(
    baseline: Path,
    adapted: Path,
    out: Path,
    table: Path,
    *,
    names: tuple[str, str] = ("CLaMP 3", "CLaMP 3 + LoRA"),
) -> dict:
    """Both models' figures and their differences; also written as JSON and as Markdown.

    Directions without a modality that adapters change have the baseline's figures alone. Positive
    differences of MRR and hits mean that the adapted model is better.

    Raises DataError when the two were not evaluated on as many queries and references.
    """
    first, second = read_evaluation(baseline), read_evaluation(adapted)
    others = {(row["collection"], row["direction"]): row for row in rows_of(second)}
    collections: dict[str, dict] = {}
    for row in rows_of(first):
        other = others.get((row["collection"], row["direction"]))
        changed = ADAPTED & {row["query"], row["reference"]}
        entry = _compared(row, other if changed else None)
        collections.setdefault(row["collection"], {})[row["direction"]] = entry
    comparison = {
        "names": {"baseline": names[0], "adapted": names[1]},
        "tie_rule": first["tie_rule"],
        "hits_at": first["hits_at"],
        "collections": collections,
    }
    write_json(out, comparison)
    write_text(table, comparison_table(comparison))
    return comparison


def comparison_table(comparison: dict) -> str:
    """The comparison as a Markdown table with a note on what the numbers are."""
    names = comparison["names"]
    at = max(comparison["hits_at"])
    head = ["held-out pieces", "queries", "references", "chance MRR"]
    for figure in ("MRR", f"Hit@{at}"):
        head += [f"{figure} {names['baseline']}", f"{figure} {names['adapted']}", "difference"]
    lines = [_line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    for row in rows_of(comparison):
        cells = [row_name(row), row["queries"], row["references"], f"{row['chance']['mrr']:.4f}"]
        for figure in ("mrr", f"hit@{at}"):
            cells += _three_cells(row, figure)
        lines.append(_line(cells))
    return "\n".join(lines) + f"\n\n{comparison['tie_rule']}\n"


def summary(comparison: Path) -> list[str]:
    """What a person reads at the end of a run: held-out figures with chance beside them."""
    report = read_evaluation(comparison)
    at = max(report["hits_at"])
    rows = list(rows_of(report))
    width = max((len(row_name(row)) for row in rows), default=0)
    lines = [f"Held-out retrieval by {report['names']['baseline']} (chance in brackets):"]
    for row in rows:
        own, chance = row["baseline"], row["chance"]
        line = (
            f"  {row_name(row):<{width}}  MRR {own['mrr']:.3f} ({chance['mrr']:.3f})"
            f"  Hit@{at} {own[f'hit@{at}']:.2f} ({chance[f'hit@{at}']:.2f})"
            f"  of {row['references']:<5}"
        )
        if "adapted" in row:
            change = f"{row['adapted']['mrr']:.3f} ({row['difference']['mrr']:+.3f})"
            line += f"  {report['names']['adapted']}: MRR {change}"
        lines.append(line.rstrip())
    return lines


def _compared(baseline: dict, adapted: dict | None) -> dict:
    figures = list(baseline["chance"])
    entry = {name: baseline[name] for name in (*SHARED, "chance")}
    entry["baseline"] = {name: baseline[name] for name in figures}
    if adapted is None:
        return entry
    for name in SHARED:
        if baseline[name] != adapted[name]:
            raise DataError(
                f"{row_name(baseline)}: {name} is {baseline[name]} in one evaluation and "
                f"{adapted[name]} in the other; evaluate both on the same pieces"
            )
    entry["adapted"] = {name: adapted[name] for name in figures}
    entry["difference"] = {name: round(adapted[name] - baseline[name], DIGITS) for name in figures}
    return entry


def _three_cells(row: dict, figure: str) -> list[str]:
    cells = [f"{row['baseline'][figure]:.4f}"]
    if "adapted" not in row:
        return [*cells, "", ""]
    return [*cells, f"{row['adapted'][figure]:.4f}", f"{row['difference'][figure]:+.4f}"]


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
