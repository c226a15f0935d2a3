"""One model against another on the same held-out pieces, and the figures as lines and tables.

Both answered the same queries from the same gallery, so differences are tested query by query:
intervals and p values are those of `clamp3.retrieval.evaluation.intervals`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from clamp3.errors import DataError
from clamp3.files import read_table, write_json, write_text
from clamp3.retrieval.evaluation.figures import GAIN, rounded, rounded_interval
from clamp3.retrieval.evaluation.intervals import paired_difference
from clamp3.retrieval.evaluation.metrics import Ranking

COLLECTION_NAMES = {
    "pdmx": "PDMX",
    "wikimt": "WikiMT",
    "wikimt_x": "WikiMT-X",
    "midicaps": "MidiCaps",
    "lakh": "Lakh MIDI",
    "song_describer": "Song Describer",
    "musiccaps": "MusicCaps",
}
ADAPTED = frozenset({"abc", "mtf"})  # modalities whose vectors an adapter changes
SHARED = ("query", "reference", "text_field", "queries", "references")
SIDES = ("baseline", "adapted")
SHOWN_HIT = 10  # Hit@k in tables: the deepest up to here
PAIRED_TEST = (
    "Differences are adapted minus baseline, with a 95 % bootstrap interval (BCa) over pieces; p "
    "is of a two-sided permutation test that exchanges the two models piece by piece, and is not "
    "corrected for the number of directions."
)
COLUMNS = (
    *("direction", "model", "queries", "references", "mrr", "mrr_low", "mrr_high", "chance_mrr"),
    *("hit", "hit_at", "ndcg", "median_rank", "difference", "difference_low", "difference_high"),
    "p_value",
)


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


def shown_hit(hits_at: Sequence[int]) -> int:
    """Which k of Hit@k a table shows: the deepest up to 10, or else the first."""
    return max((k for k in hits_at if k <= SHOWN_HIT), default=min(hits_at))


def compare_models(
    baseline: Path,
    adapted: Path,
    out: Path,
    *,
    ranks: tuple[Path, Path],
    names: tuple[str, str] = ("CLaMP 3", "CLaMP 3 + LoRA"),
) -> dict:
    """Both models' figures and their differences, which are also written to `out`.

    `baseline`, `adapted` and `ranks` are files of `evaluate_model`. Directions without a modality
    that adapters change have the baseline's figures alone; the others the two models', and for
    MRR, each Hit@k and nDCG@10 the difference (positive: the adapted model is better), its interval
    and p.

    Raises DataError when the two were not evaluated on the same queries and as many references.
    """
    first, second = read_evaluation(baseline), read_evaluation(adapted)
    places = [_read_ranks(path) for path in ranks]
    others = {(row["collection"], row["direction"]): row for row in rows_of(second)}
    collections: dict[str, dict] = {}
    for row in rows_of(first):
        key = row["collection"], row["direction"]
        entry = _alone(row)
        if ADAPTED & {row["query"], row["reference"]}:
            pair = [found.get(key, {}) for found in places]
            entry |= _against(row, others.get(key, {}), pair, first["hits_at"])
        collections.setdefault(row["collection"], {})[row["direction"]] = entry
    comparison = {
        "names": {"baseline": names[0], "adapted": names[1]},
        "tie_rule": first["tie_rule"],
        "test": PAIRED_TEST,
        "hits_at": first["hits_at"],
        "collections": collections,
    }
    write_json(out, comparison)
    return comparison


def write_tables(comparison: dict, markdown: Path, rows: Path) -> None:
    """The comparison as a Markdown table, and as tab-parted rows of a direction and a model."""
    write_text(markdown, comparison_table(comparison))
    lines = ["\t".join(COLUMNS), *("\t".join(cells) for cells in _plain_rows(comparison))]
    write_text(rows, "\n".join(lines) + "\n")


def comparison_table(comparison: dict) -> str:
    """The comparison as a Markdown table with a note on what the numbers are."""
    one, other = comparison["names"].values()
    hit = f"hit@{shown_hit(comparison['hits_at'])}"
    head = ["held-out pieces", "queries", "references", "chance MRR", f"MRR {one}", f"MRR {other}"]
    head += ["difference", "p"]
    for figure in (hit.capitalize(), "nDCG@10"):
        head += [f"{figure} {one}", f"{figure} {other}"]
    lines = [markdown_line(head), markdown_line(["---"] + ["---:"] * (len(head) - 1))]
    for row in rows_of(comparison):
        cells = [row_name(row), row["queries"], row["references"], f"{row['chance']['mrr']:.4f}"]
        cells += [with_interval(row[side], "mrr", 4) if side in row else "" for side in SIDES]
        cells += [difference_cell(row, "mrr", 4), p_cell(row, "mrr")]
        for figure in (hit, GAIN):
            cells += [f"{row[side][figure]:.4f}" if side in row else "" for side in SIDES]
        lines.append(markdown_line(cells))
    notes = f"{comparison['tie_rule']} {comparison['test']}"
    return "\n".join(lines) + f"\n\n{notes}\n"


def summary(comparison: Path) -> list[str]:
    """What a person reads at the end of a run: held-out figures with chance beside them."""
    report = read_evaluation(comparison)
    at = shown_hit(report["hits_at"])
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
            change = f"{row['adapted']['mrr']:.3f} ({row['difference']['mrr']:+.3f}"
            line += f"  {report['names']['adapted']}: MRR {change}, p {p_cell(row, 'mrr')})"
        lines.append(line.rstrip())
    return lines


def with_interval(figures: dict, name: str, digits: int = 3) -> str:
    """A figure and its interval, such as `0.412 [0.351, 0.480]`."""
    return f"{figures[name]:.{digits}f}{_ends(figures['intervals'].get(name), f'.{digits}f')}"


def difference_cell(row: dict, name: str, digits: int = 3) -> str:
    """The difference of two models and its interval; empty where there is one model."""
    if "adapted" not in row:
        return ""
    ends = _ends(row["difference"]["intervals"].get(name), f"+.{digits}f")
    return f"{row['difference'][name]:+.{digits}f}{ends}"


def p_cell(row: dict, name: str) -> str:
    """The p value of a difference, two figures that count; empty where there is one model."""
    return f"{row['difference']['p_values'][name]:.2g}" if "adapted" in row else ""


def _ends(interval: Sequence[float] | None, form: str) -> str:
    return f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else ""


def _read_ranks(path: Path) -> dict[tuple[str, str], dict]:
    """The columns of a table of ranks, by collection and direction."""
    columns = ["collection", "direction", "query", "better", "tied", "right", GAIN]
    table = read_table(path, columns=columns)
    keys = list(zip(*(table[name].to_pylist() for name in columns[:2]), strict=True))
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    parts = {key: table.take(places) for key, places in rows.items()}
    return {
        key: {name: part[name].to_numpy(zero_copy_only=False) for name in columns[2:]}
        for key, part in parts.items()
    }


def _alone(row: dict) -> dict:
    """The entry of a direction with the baseline's figures."""
    return {name: row[name] for name in (*SHARED, "chance")} | {"baseline": _side(row)}


def _side(row: dict) -> dict:
    return {name: row[name] for name in row["chance"]} | {
        "median_rank": row["median_rank"],
        "intervals": row["intervals"],
    }


def _against(baseline: dict, adapted: dict, places: Sequence[dict], hits_at: Sequence[int]) -> dict:
    for name in SHARED:
        if baseline[name] != adapted.get(name):
            raise DataError(
                f"{row_name(baseline)}: {name} is {baseline[name]} in one evaluation and "
                f"{adapted.get(name)} in the other; evaluate both on the same pieces"
            )
    asked = [list(found.get("query", ())) for found in places]
    if asked[0] != asked[1] or len(asked[0]) != baseline["queries"]:
        raise DataError(
            f"{row_name(baseline)}: the two tables of ranks are not of the same queries, or not "
            "those of the evaluations; evaluate both again on the same pieces"
        )
    clusters = np.unique(asked[0], return_inverse=True)[1]
    values = [_values(found, baseline["references"], hits_at) for found in places]
    difference: dict = {"intervals": {}, "p_values": {}}
    for name, first in values[0].items():
        found = paired_difference(first, values[1][name], clusters)
        difference[name] = rounded(adapted[name] - baseline[name])
        difference["intervals"][name] = rounded_interval(found.interval)
        difference["p_values"][name] = rounded(found.p_value)
    return {"adapted": _side(adapted), "difference": difference}


def _values(places: dict, references: int, hits_at: Sequence[int]) -> dict[str, np.ndarray]:
    """Each figure of each query [Q]."""
    ranking = Ranking(places["better"], places["tied"], places["right"], references)
    hits = {f"hit@{k}": ranking.hits(k) for k in hits_at}
    return {"mrr": ranking.reciprocal_ranks} | hits | {GAIN: places[GAIN]}


def _plain_rows(comparison: dict) -> Iterator[list[str]]:
    hit_at = shown_hit(comparison["hits_at"])
    for row in rows_of(comparison):
        for side in SIDES:
            if side not in row:
                continue
            own = row[side]
            change = [None] * 4
            if side == "adapted":
                told = row["difference"]
                ends = told["intervals"]["mrr"] or (None, None)
                change = [told["mrr"], *ends, told["p_values"]["mrr"]]
            counts = [row["queries"], row["references"]]
            figures = [own["mrr"], *(own["intervals"]["mrr"] or (None, None)), row["chance"]["mrr"]]
            others = [own[f"hit@{hit_at}"], hit_at, own[GAIN], own["median_rank"]]
            cells = plain_numbers([*counts, *figures, *others, *change])
            yield [row_name(row), comparison["names"][side], *cells]


def markdown_line(cells: Sequence[object]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def plain_numbers(numbers: Sequence[float | None]) -> list[str]:
    """Cells of a tab-parted table, empty for None."""
    return ["" if number is None else f"{number:.6g}" for number in numbers]
