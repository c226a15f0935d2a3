"""Held-out retrieval of one model: every direction between the modalities of each collection."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import write_json
from clamp3.retrieval.metrics import TIE_RULE, retrieval_metrics
from clamp3.retrieval.pairing import pair_by_id
from clamp3.retrieval.vectors import Vectors, read_vectors

MODALITIES = ("text", "abc", "mtf", "audio")
TRAINED_COLLECTION = "pdmx"  # evaluated with one text field; the others with each they have
HELD_OUT = "test"
DIGITS = 6


@dataclass(frozen=True)
class Side:
    """One side of a retrieval task: the vectors of a modality, or of one field of the texts."""

    name: str
    modality: str
    field: str | None
    vectors: Vectors


def evaluate_model(embeddings: Sequence[Path], out: Path, settings: EvaluateConfig) -> dict:
    """Rank held-out pieces in every direction; the results, which are also written to `out`.

    `embeddings`: folders that hold <collection>/<modality>.parquet; the first folder that has a
    table counts, so an adapter's folder may stand before that of its model. A gallery holds every
    piece of its table, a query is every piece that has a partner there.

    Raises DataError where tables come from different models, hold pieces that are not held out,
    or nothing can be ranked.
    """
    results, fingerprints = {}, {}
    tables = {name: _tables(embeddings, name) for name in _collections(embeddings)}
    _refuse_mixture(tables)
    for collection, modalities in tables.items():
        for modality, vectors in modalities.items():
            fingerprints.setdefault(modality, vectors.origin.fingerprint)
        directions = dict(_directions(_sides(modalities, collection, settings), settings))
        if directions:
            results[collection] = directions
    if not results:
        raise DataError(
            f"nothing to evaluate: {', '.join(map(str, embeddings))} hold no collection with two "
            "modalities of the same pieces"
        )
    report = {
        "tie_rule": TIE_RULE,
        "hits_at": list(settings.hits_at),
        "fingerprints": fingerprints,
        "collections": results,
    }
    write_json(out, report)
    return report


def _collections(embeddings: Sequence[Path]) -> list[str]:
    names = {path.parent.name for folder in embeddings for path in Path(folder).glob("*/*.parquet")}
    return sorted(names, key=lambda name: (name != TRAINED_COLLECTION, name))


def _tables(embeddings: Sequence[Path], collection: str) -> dict[str, Vectors]:
    """The vectors of each modality that has a table with pieces in it."""
    tables = {}
    for modality in MODALITIES:
        paths = [Path(folder) / collection / f"{modality}.parquet" for folder in embeddings]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            continue
        vectors = read_vectors(path)
        if vectors.origin.splits != HELD_OUT:
            raise DataError(
                f"{path}: pieces of split {vectors.origin.splits or 'unknown'}; figures are only "
                "told of held-out pieces: embed the manifests of split test"
            )
        if vectors.ids:
            tables[modality] = vectors
    return tables


def _refuse_mixture(tables: dict[str, dict[str, Vectors]]) -> None:
    spaces: dict[str, str] = {}
    for collection, modalities in tables.items():
        for modality, vectors in modalities.items():
            spaces.setdefault(vectors.origin.space, f"{collection} {modality}")
    if len(spaces) > 1:
        raise DataError(
            f"embeddings of {' and '.join(spaces.values())} come from different models and cannot "
            "be compared; embed everything again with one of them"
        )


def _sides(tables: dict[str, Vectors], collection: str, settings: EvaluateConfig) -> list[Side]:
    sides = []
    for modality, vectors in tables.items():
        if modality != "text":
            sides.append(Side(modality, modality, None, vectors))
        elif collection == TRAINED_COLLECTION:
            sides.append(_text_side("text", vectors, settings.text_field))
        else:
            fields = sorted(set(vectors.labels["field"]))
            sides.extend(_text_side(name, vectors, name) for name in fields)
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
