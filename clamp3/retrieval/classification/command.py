"""What `clamp3 classify` does: probes from files of embeddings, and their labels for others."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from clamp3.errors import ConfigError
from clamp3.files import write_json, write_table, write_text
from clamp3.retrieval.classification.probes import load_probe, save_probe
from clamp3.retrieval.classification.scoring import (
    Guesses,
    cross_validate,
    figures,
    held_out_guesses,
    most_frequent,
)
from clamp3.retrieval.classification.training import Recipe, train_probe
from clamp3.retrieval.labels import Labelled, Refused, with_labels
from clamp3.retrieval.vector_files import read_embeddings

log = logging.getLogger(__name__)
REPORT, GUESSES, REJECTED = "evaluation.json", "predictions.tsv", "rejected.tsv"
DIGITS = 6


def train_from_files(
    features: Path | str,
    out: Path,
    recipe: Recipe,
    *,
    labels: Path | None = None,
    label_column: str = "label",
    folds: int = 5,
    test: Path | str | None = None,
) -> dict:
    """Write a probe trained on all labelled embeddings, and what it is worth; returns the report.

    In `out`: probe.safetensors and probe.json, evaluation.json, predictions.tsv (each by a probe
    that had not seen the piece) and rejected.tsv. Without `test` by cross-validation, else on that
    source, whose labels come from the same table or from its file names.
    """
    data = _labelled(features, labels, label_column)
    rows_in = len(data.labels) + len(data.refused)
    if test is None:
        data, guesses = cross_validate(data, recipe, folds)
    probe = train_probe(data, recipe)
    refused = data.refused
    if test is not None:
        held_out = _labelled(test, labels, label_column)
        rows_in += len(held_out.labels) + len(held_out.refused)
        _warn_of_copies(data, held_out)
        held_out, guesses = held_out_guesses(probe, held_out)
        refused = [*refused, *held_out.refused]
    kinds = dict(sorted(Counter(kind for _, kind, _ in refused).items()))
    report = {"features": str(features), "test": str(test) if test else None}
    report |= {"rows_in": rows_in, "rejected": kinds, "recipe": probe.recipe}
    report |= figures(guesses, probe.classes, most_frequent(data.labels))
    save_probe(out, probe)
    write_json(Path(out) / REPORT, report)
    write_text(Path(out) / GUESSES, _guess_lines(guesses))
    write_text(Path(out) / REJECTED, _lines(("id", "kind", "reason"), refused))
    return report


def predict_from_files(features: Path | str, probe: Path, out: Path | None) -> tuple[str, Refused]:
    """The predictions as tab-parted lines, also written to `out`, and what could not be used.

    Columns id, label, and p_<class> for each class. `out` ends in .tsv, .csv or .parquet.
    """
    ending = out.suffix.lower() if out is not None else None
    if ending not in (None, ".tsv", ".csv", ".parquet"):
        raise ConfigError(f"{out}: expected a file ending in .tsv, .csv or .parquet")
    found = load_probe(probe)
    read = read_embeddings(features)
    found.check(read.vectors)
    embeddings = read.vectors.embeddings
    chances, predicted = found.probabilities(embeddings), found.predict(embeddings)
    head = ["id", "label", *(f"p_{name}" for name in found.classes)]
    columns = [read.vectors.ids, predicted, *chances.T]
    if ending == ".parquet":
        write_table(out, pa.table(dict(zip(head, map(pa.array, columns), strict=True))))
    rows = zip(read.vectors.ids, predicted, *np.round(chances.T, DIGITS), strict=True)
    table = [[*row[:2], *(f"{chance:.{DIGITS}f}" for chance in row[2:])] for row in rows]
    if ending in (".tsv", ".csv"):
        write_text(out, _lines(head, table, "," if ending == ".csv" else "\t"))
    return _lines(head, table), [(name, "bad_file", why) for name, why in read.refused]


def report_lines(report: dict) -> list[str]:
    """The report for people: figures with standard errors, baselines, the confusion matrix."""
    how = f"{report['folds']} folds" if report["folds"] > 1 else "test set"
    major = report["majority"]
    lines = [f"{report['pieces']} pieces, {len(report['classes'])} labels, {how}"]
    for name in ("accuracy", "macro_f1"):
        lines.append(
            f"{name:<9} {report[name]:.4f} ± {report[f'{name}_standard_error']:.4f}"
            f"   (always {major['label']!r}: {major[name]:.4f})"
        )
    return [*lines, f"chance    {report['chance_accuracy']:.4f}", *confusion_lines(report)]


def confusion_lines(report: dict) -> list[str]:
    """The confusion matrix as tab-parted lines: true labels down, guessed ones across."""
    lines = ["\t".join(["true \\ guessed", *report["classes"]])]
    for name, row in zip(report["classes"], report["confusion"], strict=True):
        lines.append("\t".join([name, *map(str, row)]))
    return lines


def _labelled(source: Path | str, table: Path | None, column: str) -> Labelled:
    read = read_embeddings(source)
    labelled = with_labels(read.vectors, table, column)
    bad = [(name, "bad_file", why) for name, why in read.refused]
    return Labelled(labelled.vectors, labelled.labels, [*bad, *labelled.refused])


def _warn_of_copies(data: Labelled, test: Labelled) -> None:
    seen = {row.tobytes() for row in np.asarray(data.vectors.embeddings, np.float32)}
    rows = np.asarray(test.vectors.embeddings, np.float32)
    if copies := sum(row.tobytes() in seen for row in rows):
        log.warning("%d of %d test pieces are in the training data as well", copies, len(rows))


def _guess_lines(guesses: Guesses) -> str:
    columns = guesses.ids, guesses.labels, guesses.predicted, guesses.folds.tolist()
    return _lines(("id", "label", "predicted", "fold"), zip(*columns, strict=True))


def _lines(head: Sequence[str], rows, delimiter: str = "\t") -> str:
    to = io.StringIO(newline="")
    csv.writer(to, delimiter=delimiter, lineterminator="\n").writerows([head, *rows])
    return to.getvalue()
