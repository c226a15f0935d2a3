"""The LoRA project's evaluation of adapters: its four files, of the base model and the adapters.

evaluation_baseline_report.json and evaluation_lora_report.json tell of each data set how large
features are, how alike a piece is to its own text, and retrieval both ways; the comparison report
and the summary tell what the adapters changed. Keys are the project's own.

Source: Ononymous/291A-clamp3@af06771 lora_eval/
Differs:
- Hits stay in percent, but come with the rank rule, 95 % intervals and what chance gives.
- Which pieces are taken depends on hashes of their ids, not on the order of a folder, and both
  models are measured on the same ones; every piece of the sample is in the gallery. There 1,000
  lines of mixed origin left 420 pieces.
- MidiCaps is its published test set (clamp3.data.midicaps), scores are interleaved, and long
  texts and scores are read whole, as clamp3.retrieval.embedding.segments says; there one window
  of each.
- The smallest similarity from music to text is the smallest; there it repeats the largest.
- A similarity may be negative or near 0, so its change is told as a difference and not in percent
  (there: +-726.63%).
- No times of day and no paths of the machine: equal vectors give equal files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clamp3.config import EvaluateConfig
from clamp3.files import read_jsonl, write_json, write_text
from clamp3.randomness import stable_hash
from clamp3.retrieval.evaluation.figures import (
    GAIN,
    Ranked,
    Task,
    figures_of,
    rank,
    rounded,
    rounded_interval,
)
from clamp3.retrieval.evaluation.held_out import (
    Collection,
    Side,
    read_collections,
    refuse_mixture,
    sides_of,
)
from clamp3.retrieval.evaluation.intervals import mean_intervals, paired_difference
from clamp3.retrieval.evaluation.metrics import TIE_RULE
from clamp3.retrieval.vectors import Vectors, manifest_name, unit_rows

CHUNK_ROWS = 1024
TEXT_CHARACTERS = 100  # of a sample that are shown
MODELS = ("baseline", "lora")
DIRECTIONS = ("text_to_music", "music_to_text")
SIMILARITY = "avg_text_music_similarity"
NORM = "avg_feature_norm"


class DataSet(NamedTuple):
    """One of the project's data sets: what it is called there and here.

    `field`: the text whose results are told under the plain `key`; others add their name to it.
    """

    key: str
    title: str
    collection: str
    modality: str
    field: str | None


DATA_SETS = (
    DataSet("wikimt", "WikiMT-X", "wikimt_x", "abc", None),
    DataSet("midicaps", "MidiCaps", "midicaps", "mtf", "description"),
    DataSet("lakh", "Lakh MIDI", "lakh", "mtf", "background"),
)


@dataclass(frozen=True)
class Measured:
    """A model's entry for a data set, and the values of each text behind its figures [Q]."""

    entry: dict
    values: dict[str, dict[str, np.ndarray]]


def evaluate_adapters(
    baseline: Sequence[Path],
    adapted: Sequence[Path],
    manifests: Sequence[Path],
    out: Path,
    settings: EvaluateConfig,
) -> dict:
    """Write the four files to the folder `out`; returns the comparison report.

    `baseline`, `adapted`, `manifests`: as the embeddings and manifests of `evaluate_model`. At most
    `settings.num_abc` scores and `num_mtf` performances are taken. A data set that no manifest
    names has no entry.

    Raises DataError where tables come from different models, or a manifest is of another split.
    """
    texts = _texts(manifests)
    found = [read_collections(tables, manifests) for tables in (baseline, adapted)]
    for collections in found:
        refuse_mixture(collections)
    measured: dict[str, list[Measured]] = {}
    for data_set in DATA_SETS:
        pair = [collections.get(data_set.collection) for collections in found]
        limit = settings.num_abc if data_set.modality == "abc" else settings.num_mtf
        tables = _same_pieces(data_set, pair, limit)
        for side in sides_of({"text": tables[0]["text"]}, None) if tables else ():
            plain = side.field == data_set.field
            key = data_set.key if plain else f"{data_set.key}_{side.field}"
            measured[key] = [
                _measure(data_set, side, own[data_set.modality], texts, settings) for own in tables
            ]
    out = Path(out)
    for place, name in enumerate(MODELS):
        entries = {key: each[place].entry for key, each in measured.items()}
        about = _about(name, found[place])
        write_json(out / f"evaluation_{name}_report.json", about | {"datasets": entries})
    comparison = {"tie_rule": TIE_RULE, "datasets": {k: _compared(*m) for k, m in measured.items()}}
    write_json(out / "evaluation_comparison_report.json", comparison)
    write_text(out / "evaluation_summary.txt", "\n".join(_summary(comparison)) + "\n")
    return comparison


def _about(name: str, collections: dict[str, Collection]) -> dict:
    """What a report says of its model."""
    prints = {
        each.modality: collections[each.collection].tables[each.modality].origin.fingerprint
        for each in DATA_SETS
        if each.collection in collections and each.modality in collections[each.collection].tables
    }
    return {
        "model_type": "baseline" if name == "baseline" else "lora_adaptive",
        "fingerprints": prints,
        "tie_rule": TIE_RULE,
        "hits_in": "percent",
    }


def _texts(manifests: Sequence[Path]) -> dict[str, dict]:
    """The line of each piece of the data sets."""
    wanted = {each.collection for each in DATA_SETS}
    chosen = [path for path in manifests if manifest_name(path)[0] in wanted]
    return {row["id"]: row for path in chosen for _, row in read_jsonl(path)}


def _same_pieces(
    data_set: DataSet, pair: Sequence[Collection | None], limit: int | None
) -> list[dict[str, Vectors]]:
    """The tables of text and music of both models, cut to the sample; none where one is missing."""
    tables = [collection.tables for collection in pair if collection]
    needed = {"text", data_set.modality}
    if len(tables) < len(MODELS) or not all(needed <= own.keys() for own in tables):
        return []
    shared = set.intersection(*(set(own[data_set.modality].ids) for own in tables))
    chosen = set(sorted(shared, key=lambda name: (stable_hash(name, "sample"), name))[:limit])
    return [{name: own[name].of(chosen) for name in ("text", data_set.modality)} for own in tables]


def _measure(
    data_set: DataSet, side: Side, music: Vectors, texts: dict[str, dict], settings: EvaluateConfig
) -> Measured:
    asked = side.vectors
    task = Task(by="id", hits_at=settings.hits_at)
    ranked = [rank(asked, music, task), rank(music, asked, task)]
    alike = ranked[0].placed.similarity
    all_pairs = _all_similarities(asked.embeddings, music.embeddings)
    clusters = ranked[0].clusters
    entry: dict = {
        "dataset": data_set.title,
        "dataset_type": data_set.modality,
        "text_field": side.field,
        "num_samples": len(music.ids),
        "metrics": {
            NORM: rounded(np.linalg.norm(music.embeddings, axis=1).mean()),
            "num_samples": len(music.ids),
            SIMILARITY: rounded(alike.mean()),
            f"{SIMILARITY}_interval": rounded_interval(mean_intervals(alike[:, None], clusters)[0]),
            "num_text_annotated": len(asked.ids),
        },
        "feature_stats": _feature_stats(music.embeddings),
    }
    correct = {"mean_correct": rounded(alike.mean()), "std_correct": rounded(alike.std())}
    for name, done in zip(DIRECTIONS, ranked, strict=True):
        entry[name] = _retrieval(done, task) | {"similarity_stats": correct | all_pairs}
    entry["samples"] = [
        {"id": name, "text": _shortened(texts[name][side.field]), "similarity": rounded(value)}
        for name, value in zip(
            (asked.ids[row] for row in ranked[0].placed.rows), alike, strict=True
        )
    ]
    values = {name: _values(done, task) for name, done in zip(DIRECTIONS, ranked, strict=True)}
    values["metrics"] = {SIMILARITY: alike, "clusters": clusters}
    return Measured(entry, values)


def _retrieval(ranked: Ranked, task: Task) -> dict:
    """The figures of one direction under the project's names: hits in percent."""
    told = figures_of(ranked, task)
    found = _named(told["figures"]["mean"])
    found["intervals"] = _named(told["intervals"])
    found["chance"] = _named(told["chance"])
    return found | {"num_queries": len(ranked.placed.rows), "gallery": len(ranked.references.ids)}


def _named(figures: dict) -> dict:
    names = {"mrr": "MRR", GAIN: "nDCG@10", "median_rank": "median_rank"}
    found = {names[name]: value for name, value in figures.items() if name in names}
    hits = {name: value for name, value in figures.items() if name.startswith("hit@")}
    return found | {name.capitalize(): _percent(value) for name, value in hits.items()}


def _percent(value: float | list[float] | None) -> float | list[float] | None:
    if isinstance(value, list):
        return [rounded(100 * end) for end in value]
    return None if value is None else rounded(100 * value)


def _values(ranked: Ranked, task: Task) -> dict[str, np.ndarray]:
    """The figures of each query [Q], as they are told, and what is drawn together."""
    ranking = ranked.placed.ranking
    hits = {f"Hit@{k}": 100 * ranking.hits(k) for k in task.hits_at}
    return {"MRR": ranking.reciprocal_ranks} | hits | {"clusters": ranked.clusters}


def _all_similarities(texts: np.ndarray, music: np.ndarray) -> dict[str, float]:
    """Mean, deviation, largest and smallest of the cosines of every text with every piece."""
    rows, columns = unit_rows(texts), unit_rows(music)
    sums = np.zeros(2)
    low, high = np.inf, -np.inf
    for start in range(0, len(rows), CHUNK_ROWS):
        cosines = rows[start : start + CHUNK_ROWS] @ columns.T
        sums += cosines.sum(), (cosines**2).sum()
        low, high = min(low, cosines.min()), max(high, cosines.max())
    mean, square = sums / (len(rows) * len(columns))
    found = {"mean_all": mean, "std_all": np.sqrt(max(0.0, square - mean**2))}
    found |= {"max_all": high, "min_all": low}
    return {name: rounded(value) for name, value in found.items()}


def _feature_stats(features: np.ndarray) -> dict[str, float]:
    """Lengths of the vectors, deviation of their numbers, and how alike pieces are on the whole."""
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    found = {
        "mean_norm": lengths.mean(),
        "std_norm": lengths.std(),
        "min_norm": lengths.min(),
        "max_norm": lengths.max(),
        "mean_standard_deviation": features.astype(np.float64).std(axis=0).mean(),
    }
    count = len(features)
    if count > 1:  # of different pieces: their sum without the cosines of each with itself
        total = np.square(unit_rows(features).sum(axis=0)).sum() - (lengths > 0).sum()
        found["mean_pairwise_similarity"] = total / (count * (count - 1))
    return {name: rounded(value) for name, value in found.items()}


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else text[:TEXT_CHARACTERS] + "..."


def _compared(baseline: Measured, lora: Measured) -> dict:
    """Both entries without their samples, and what the adapters changed."""
    entries = [
        {name: value for name, value in each.entry.items() if name != "samples"}
        for each in (baseline, lora)
    ]
    improvements: dict = {"metrics": {NORM: _change(*(e["metrics"][NORM] for e in entries))}}
    for part, values in baseline.values.items():
        clusters = values["clusters"]
        for name, first in values.items():
            if name == "clusters":
                continue
            told = [entry[part][name] for entry in entries]
            change = _change(*told, percent=name != SIMILARITY)
            found = paired_difference(first, lora.values[part][name], clusters)
            change["interval"] = rounded_interval(found.interval)
            change["p_value"] = rounded(found.p_value)
            improvements.setdefault(part, {})[name] = change
    return dict(zip(MODELS, entries, strict=True)) | {"improvements": improvements}


def _change(baseline: float, lora: float, *, percent: bool = True) -> dict:
    difference = lora - baseline
    share = rounded(100 * difference / baseline) if percent and baseline > 0 else None
    return {
        "baseline": baseline,
        "lora": lora,
        "absolute_diff": rounded(difference),
        "percent_change": share,
    }


def _summary(comparison: dict) -> list[str]:
    """What a person reads."""
    bar = "=" * 80
    lines = [bar, "CLAMP3 MODEL EVALUATION SUMMARY", "Baseline vs LoRA Adapters", bar]
    for entry in comparison["datasets"].values():
        about = entry["baseline"]
        kind, field = about["dataset_type"].upper(), about["text_field"]
        lines += ["", bar, f"{kind} DATASET ({about['dataset']}, text: {field})", bar]
        for name, title in zip(MODELS, ("Baseline Model", "LoRA Adapter"), strict=True):
            lines += ["", f"{title} Metrics:", *_metric_lines(entry[name])]
        lines += ["", "Changes (LoRA minus baseline, 95 % interval, p of a paired test):"]
        for part, changes in entry["improvements"].items():
            prefix = "" if part == "metrics" else f"{part} "
            lines += [_change_line(prefix + name, change) for name, change in changes.items()]
    if not comparison["datasets"]:
        lines += ["", "No pieces of WikiMT-X, MidiCaps or Lakh have been embedded by both models."]
    return [*lines, "", bar, comparison["tie_rule"]]


def _metric_lines(entry: dict) -> list[str]:
    metrics = entry["metrics"]
    lines = [
        f"  - {NORM}: {metrics[NORM]:.4f}",
        f"  - num_samples: {metrics['num_samples']}",
        f"  - {SIMILARITY}: {metrics[SIMILARITY]:.4f}",
        f"  - num_text_annotated: {metrics['num_text_annotated']}",
    ]
    for name in DIRECTIONS:
        own, chance = entry[name], entry[name]["chance"]
        hits = [key for key in own if key.startswith("Hit@")]
        told = ", ".join(f"{key} {own[key]:.2f} ({chance[key]:.2f})" for key in hits)
        lines.append(
            f"  - {name}: MRR {own['MRR']:.4f} ({chance['MRR']:.4f} by chance), {told} percent, "
            f"gallery {own['gallery']}"
        )
    return lines


def _change_line(name: str, change: dict) -> str:
    line = f"  - {name}: {change['absolute_diff']:+.4f}"
    if change["percent_change"] is not None:
        line += f" ({change['percent_change']:+.2f} %)"
    if change.get("interval"):
        low, high = change["interval"]
        line += f" [{low:+.4f}, {high:+.4f}]"
    return line + (f", p = {change['p_value']:.2g}" if "p_value" in change else "")
