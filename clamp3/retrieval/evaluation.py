"""Held-out retrieval of one model: every direction between the modalities of each collection."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_json
from clamp3.retrieval.metrics import TIE_RULE, retrieval_metrics
from clamp3.retrieval.pairing import pair_by_id
from clamp3.retrieval.vectors import Vectors, read_vectors

log = logging.getLogger(__name__)

MODALITIES = ("text", "abc", "mtf", "audio")
TRAINED_COLLECTION = "pdmx"  # evaluated with one text field; the others with each they have
DIGITS = 6


@dataclass(frozen=True)
class Side:
    """One side of a retrieval task: the vectors of a modality, or of one field of the texts."""

    name: str
    modality: str
    field: str | None
    vectors: Vectors


def evaluate_model(
    embeddings: Sequence[Path], manifests: Sequence[Path], out: Path, settings: EvaluateConfig
) -> dict:
    """Rank held-out pieces in every direction; the results, which are also written to `out`.

    `embeddings`: folders that hold <collection>/<modality>.parquet; the first folder that has a
    table counts, so an adapter's folder may stand before that of its model. `manifests`: the
    files <collection>-<modality>-test.jsonl that say which pieces are held out. A gallery holds
    every held-out piece of its modality, a query is every one with a partner there.

    Raises DataError where tables come from different models, or nothing can be ranked.
    """
    held_out = _held_out_ids(manifests)
    results = {}
    for collection, ids in held_out.items():
        tables = _tables(embeddings, collection)
        sides = _sides(tables, ids, collection, settings)
        directions = dict(_directions(sides, settings))
        if directions:
            missing = _not_embedded(tables, ids)
            results[collection] = {"not_embedded": missing, "directions": directions}
    if not results:
        raise DataError(
            f"nothing to evaluate: {', '.join(map(str, embeddings))} hold no two modalities of "
            f"{', '.join(held_out) or 'any collection'}"
        )
    report = {
        "tie_rule": TIE_RULE,
        "hits_at": list(settings.hits_at),
        "text_field": settings.text_field,
        "fingerprints": _fingerprints(embeddings, held_out),
        "collections": results,
    }
    write_json(out, report)
    return report


def _held_out_ids(manifests: Sequence[Path]) -> dict[str, dict[str, list[str]]]:
    """For each collection the ids of the held-out pieces, by modality."""
    held_out: dict[str, dict[str, list[str]]] = {}
    for path in map(Path, manifests):
        try:
            collection, modality, split = path.stem.rsplit("-", 2)
        except ValueError as error:
            raise DataError(f"{path}: expected a name like pdmx-abc-test.jsonl") from error
        if split != "test":
            raise DataError(f"{path}: holds split {split}; held-out figures need the split test")
        ids = [row["id"] for _, row in read_jsonl(path)]
        held_out.setdefault(collection, {}).setdefault(modality, []).extend(ids)
    for modalities in held_out.values():
        everything = itertools.chain.from_iterable(modalities.values())
        modalities.setdefault("text", list(dict.fromkeys(everything)))
    return held_out


def _tables(embeddings: Sequence[Path], collection: str) -> dict[str, Vectors]:
    """The vectors of each modality that has a table; all of one space."""
    tables = {}
    for modality in MODALITIES:
        paths = [Path(folder) / collection / f"{modality}.parquet" for folder in embeddings]
        for path in paths:
            if path.exists():
                tables[modality] = read_vectors(path)
                break
    spaces = {vectors.origin.space: modality for modality, vectors in tables.items()}
    if len(spaces) > 1:
        raise DataError(
            f"{collection}: embeddings of {' and '.join(spaces.values())} come from different "
            "models and cannot be compared; embed the collection again"
        )
    return tables


def _sides(
    tables: dict[str, Vectors], ids: dict[str, list[str]], collection: str, settings: EvaluateConfig
) -> list[Side]:
    sides = []
    for modality, vectors in tables.items():
        held_out = set(ids.get(modality, []))
        kept = vectors.take([row for row, name in enumerate(vectors.ids) if name in held_out])
        if modality != "text":
            sides.append(Side(modality, modality, None, kept))
        elif collection == TRAINED_COLLECTION:
            sides.append(_text_side("text", kept, settings.text_field))
        else:
            fields = dict.fromkeys(kept.labels["field"])
            sides.extend(_text_side(name, kept, name) for name in sorted(fields))
    return [side for side in sides if side.vectors.ids]


def _text_side(name: str, texts: Vectors, text_field: str) -> Side:
    rows = [row for row, value in enumerate(texts.labels["field"]) if value == text_field]
    return Side(name, "text", text_field, texts.take(rows))


def _directions(sides: list[Side], settings: EvaluateConfig) -> Iterator[tuple[str, dict]]:
    for query, reference in itertools.permutations(sides, 2):
        if query.modality == reference.modality:
            continue
        pairing = pair_by_id(query.vectors.ids, reference.vectors.ids)
        if not len(pairing.queries):
            continue
        figures = retrieval_metrics(
            query.vectors.embeddings[pairing.queries],
            reference.vectors.embeddings,
            pairing.targets,
            hits_at=settings.hits_at,
        )
        field = query.field or reference.field
        header = {"query": query.modality, "reference": reference.modality, "text_field": field}
        yield f"{query.name}_to_{reference.name}", header | _rounded(figures)


def _rounded(figures: dict) -> dict:
    """Floats to `DIGITS` decimals: what lies beyond is noise and would show as a change."""
    return {
        name: _rounded(value) if isinstance(value, dict) else round(value, DIGITS)
        for name, value in figures.items()
    }


def _not_embedded(tables: dict[str, Vectors], ids: dict[str, list[str]]) -> dict[str, int]:
    """How many held-out pieces have no vector, by modality."""
    missing = {}
    for modality, vectors in tables.items():
        if modality != "text":  # a piece need not have a text
            missing[modality] = len(np.setdiff1d(ids.get(modality, []), vectors.ids))
            if missing[modality]:
                log.warning("%d held-out %s pieces have no vector", missing[modality], modality)
    return missing


def _fingerprints(embeddings: Sequence[Path], collections: dict) -> dict[str, str]:
    """The model (with its adapter) behind each modality's vectors."""
    found = {}
    for collection in collections:
        for modality, vectors in _tables(embeddings, collection).items():
            found.setdefault(modality, vectors.origin.fingerprint)
    return found
