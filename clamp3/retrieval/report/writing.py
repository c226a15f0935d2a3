"""results/report.html: what was trained on what, and what came of it, on one static page."""

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from clamp3.config import ReportConfig
from clamp3.data.listing import LISTING, listed_parts
from clamp3.data.piece_reader import PieceReader
from clamp3.errors import DataError
from clamp3.files import parse_json, read_jsonl, read_metadata, write_text
from clamp3.retrieval.evaluation.comparison import read_evaluation
from clamp3.retrieval.metadata import Facts, read_facts
from clamp3.retrieval.report import plots
from clamp3.retrieval.report.clamp2 import clamp2_section
from clamp3.retrieval.report.clap import clap_section
from clamp3.retrieval.report.html import Html, element, figure, figures, joined, note, page, section
from clamp3.retrieval.report.pieces import examples_section
from clamp3.retrieval.report.space import space_section
from clamp3.retrieval.report.summaries import summaries_section
from clamp3.retrieval.report.tables import comparison_section, counts_section, retrieval_section
from clamp3.retrieval.vectors import Vectors, read_vectors

COLLECTION = "pdmx"  # whose space is drawn and whose examples are shown
MODALITIES = ("text", "abc", "mtf", "audio")
TITLE = "CLaMP 3: training and retrieval report"


def write_report(
    data: Path,
    results: Path,
    out: Path,
    settings: ReportConfig,
    *,
    params: dict | None = None,
    needed: Iterable[Path] = (),
    root: Path = Path("."),
) -> None:
    """Write the page; equal inputs give equal bytes.

    `data` and `results`: the folders that the pipeline fills. `params`: parameters to show.
    `root`: what the manifests' paths are relative to. A section whose files are not there is left
    out, so a part of the pipeline can be looked at too; what is damaged raises DataError, and so
    does a file that is `needed` and not there.
    """
    evaluation = _evaluation(results, "clamp3")
    comparison = _evaluation(results, "comparison")
    field = _text_field(evaluation)
    tables = _tables(results / "embeddings" / "clamp3" / COLLECTION)
    pieces = _pieces(data / "manifests")
    reader = PieceReader(root)
    parts = [
        element("h1", TITLE),
        _introduction(evaluation, data),
        retrieval_section(evaluation) if evaluation else "",
        comparison_section(comparison) if comparison else "",
        examples_section(tables, pieces, reader, field=field, count=settings.examples),
        space_section(
            _one_text_each(tables, field),
            pieces,
            reader,
            settings.space,
            catalog=_catalog(data / "catalog", pieces, settings),
        ),
        _of_file(clap_section, results / "evaluation" / "clap_musicgen.json"),
        _of_file(clamp2_section, results / "evaluation" / "clamp2.json"),
        _curves(results / "metrics"),
        _of_file(_counts, data / "manifests" / "counts.json"),
        _of_file(summaries_section, data / "summaries" / "summaries.json"),
        _parameters(params),
    ]
    if gone := next((path for path in needed if not path.exists()), None):
        raise DataError(f"{gone}: no such file; was it moved or deleted? Run the same again")
    write_text(out, page(TITLE, *parts))


def _evaluation(results: Path, name: str) -> dict | None:
    path = results / "evaluation" / f"{name}.json"
    return read_evaluation(path) if path.exists() else None


def _of_file(section_of: Callable[[Path], Html], path: Path) -> Html:
    return section_of(path) if path.exists() else Html("")


def _tables(folder: Path) -> dict[str, Vectors]:
    paths = {name: folder / f"{name}.parquet" for name in MODALITIES}
    return {name: read_vectors(path) for name, path in paths.items() if path.exists()}


def _pieces(manifests: Path) -> dict[str, dict]:
    """What the manifests of held-out pieces say of each, with the files of all of them."""
    pieces: dict[str, dict] = {}
    for path in sorted(manifests.glob(f"{COLLECTION}-*-test.jsonl")):
        for _, line in read_jsonl(path):
            known = pieces.setdefault(line["id"], line | {"filepaths": []})
            known["filepaths"] = [*known["filepaths"], *line["filepaths"]]
    return pieces


def _catalog(folder: Path, pieces: dict[str, dict], settings: ReportConfig) -> dict[str, Facts]:
    """What the catalogue says of the pieces; nothing where there is none."""
    if not folder.is_dir():
        return {}
    listing = folder / LISTING
    for part in listed_parts(listing)[0] if listing.exists() else ():
        if not part.exists():
            raise DataError(f"{part}: no such file, although {listing.name} beside it names it")
    return read_facts(folder, ids=pieces, columns=settings.space.columns)


def _text_field(evaluation: dict | None) -> str | None:
    """Which text of a piece the evaluation asked with."""
    directions = evaluation["collections"].get(COLLECTION, {}) if evaluation else {}
    return directions.get("text_to_abc", {}).get("text_field")


def _one_text_each(tables: dict[str, Vectors], field: str | None) -> dict[str, Vectors]:
    """The tables with no more than the texts of that field."""
    if field is None or "text" not in tables:
        return tables
    return tables | {"text": tables["text"].labelled("field", field)}


def _introduction(evaluation: dict | None, data: Path) -> Html:
    told = (
        "Text, scores, performances and recordings as vectors in one space: how well each finds "
        "the others among pieces that no training has seen."
    )
    about = []
    if evaluation:
        prints = dict.fromkeys(evaluation["fingerprints"].values())
        about.append(joined(["Model ", *(element("code", name[:16]) for name in prints), ". "]))
    renderers = _renderers(data / "features")
    if renderers:
        about.append(joined(["Sound of the recordings: ", ", ".join(renderers), ". "]))
    return joined([element("p", told), note(*about) if about else ""])


def _renderers(features: Path) -> list[str]:
    """What the feature tables say the recordings were rendered by."""
    found = {}
    for path in sorted(features.glob("part-*.parquet")):
        metadata = read_metadata(path).metadata or {}
        if metadata.get(b"renderer"):
            found[metadata[b"renderer"].decode()] = True
    return list(found)


def _curves(metrics: Path) -> Html:
    drawn = []
    for path in sorted(metrics.rglob("*.tsv")):
        name = path.relative_to(metrics).with_suffix("").as_posix()
        lines = _losses(path)
        if lines:
            svg = plots.line_figure(lines, "step", "loss")
            drawn.append(figure(svg, f"{name}: loss of training and validation batches."))
    return section("Training", figures(drawn))


def _losses(path: Path) -> dict[str, tuple[list[float], list[float]]]:
    """The loss by step of each split in a table of training figures."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    try:
        text = path.read_bytes().decode("utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends within a line")
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"):
            step, loss = float(row["step"]), float(row["loss"])
            xs, ys = lines.setdefault(row["split"], ([], []))
            xs.append(step)
            ys.append(loss)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a table of training figures ({error!r})") from error
    return lines


def _counts(path: Path) -> Html:
    try:
        return counts_section(parse_json(path.read_bytes()))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the counts of pieces ({error!r})") from error


def _parameters(params: dict | None) -> Html:
    if not params:
        return Html("")
    text = yaml.safe_dump(params, sort_keys=False, allow_unicode=True)
    return section(
        "Parameters", element("details", element("summary", "all of them"), element("pre", text))
    )
