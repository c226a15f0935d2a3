"""The report's section on CLaMP 2: retrieval by summaries in several languages."""

import json
from collections.abc import Iterator
from pathlib import Path

from clamp3.errors import DataError
from clamp3.retrieval.evaluation.comparison import shown_hit, with_interval
from clamp3.retrieval.report.html import Html, chance, element, note, section, table

NAMES = {"clamp2": "CLaMP 2", "clamp3": "CLaMP 3"}
SPLITS = {"test": "held-out", "train": "training"}
KINDS = {
    "english": "English",
    "other": "its other language",
    "unseen": "a language unseen with the piece",
}


def clamp2_section(path: Path) -> Html:
    """The figures in a file of `evaluate_clamp2`; raises DataError where it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        hit = f"hit@{shown_hit(report['hits_at'])}"
        models = [name for name in NAMES if name in report["models"]]
        rows = list(_rows(report["models"], models, hit))
        languages = list(_language_rows(report["models"], models))
        counts = ", ".join(
            f"{own['pieces']} {SPLITS[split]} pieces ({own['distinct']} distinct summaries)"
            for split, own in report["pieces"].items()
        )
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not an evaluation of CLaMP 2 ({error!r})") from error
    head = ["pieces", "summaries in", "music", "queries"]
    head += [f"MRR {NAMES[name]} [95 %]" for name in models] + ["chance"]
    head += [f"{hit.capitalize()} {NAMES[name]}" for name in models] + ["chance"]
    by_language = ["pieces", "summaries in", "language", "music", "queries"]
    by_language += [f"MRR {NAMES[name]} [95 %]" for name in models] + ["chance"]
    return section(
        "CLaMP 2",
        table(head, rows, texts=3),
        element(
            "details", element("summary", "by language"), table(by_language, languages, texts=4)
        ),
        note(
            "Scores and performances, ranked by summaries: English, the other language of the "
            "training manifest, and languages in which no summary of the piece was trained on (the "
            "template writer's). "
            f"{counts}; pieces of one English summary are equally right. CLaMP 3 answers the same "
            "queries, though it was trained on English texts of another make. Intervals are over "
            "pieces, so the several languages of one are not counted as independent."
        ),
    )


def _directions(models: dict, names: list[str]) -> Iterator[tuple[list[str], list[dict]]]:
    """Yield split, kind and modality of each direction, and each model's figures of it."""
    for split, directions in models[names[0]].items():
        for name in directions:
            kind, _, modality = name.partition("_to_")
            yield [SPLITS[split], KINDS[kind], modality], [models[m][split][name] for m in names]


def _rows(models: dict, names: list[str], hit: str) -> Iterator[list]:
    for labels, found in _directions(models, names):
        cells = [*labels, found[0]["queries"], *_mrr(found)]
        cells += [f"{row[hit]:.3f}" for row in found]
        yield [*cells, chance(found[0]["chance"][hit])]


def _language_rows(models: dict, names: list[str]) -> Iterator[list]:
    for (split, kind, modality), found in _directions(models, names):
        for language in found[0].get("languages", {}):
            parts = [row["languages"][language] for row in found]
            yield [split, kind, language, modality, parts[0]["queries"], *_mrr(parts)]


def _mrr(found: list[dict]) -> list:
    return [*(with_interval(row, "mrr") for row in found), chance(found[0]["chance"]["mrr"])]
