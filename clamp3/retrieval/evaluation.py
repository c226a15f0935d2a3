"""Held-out retrieval of one model: every direction between the modalities of each collection."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_json
from clamp3.retrieval.metrics import TIE_RULE, retrieval_metrics
from clamp3.retrieval.pairing import pair_by_id
from clamp3.retrieval.vectors import Vectors, manifest_name, read_vectors

log = logging.getLogger(__name__)

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


def evaluate_model(
    embeddings: Sequence[Path], manifests: Sequence[Path], out: Path, settings: EvaluateConfig
) -> dict:
    """Rank held-out pieces in every direction; the results, which are also written to `out`.

    `embeddings`: folders that hold <collection>/<modality>.parquet; the first folder that has a
    table counts, so an adapter's folder may stand before that of its model. `manifests`: files
    <collection>-<modality>-test.jsonl that say which pieces are held out; what else a table holds
    is left out. A gallery holds every held-out piece of its modality that has a vector, and every
    one with a partner there is a query.

    Raises DataError where tables come from different models, a manifest is of
    another split, or nothing can be ranked.
    """
    held_out = _held_out(manifests)
    tables = {name: _tables(embeddings, name, ids) for name, ids in held_out.items()}
    _refuse_mixture(tables)
    results, fingerprints = {}, {}
    for collection, modalities in tables.items():
        for modality, vectors in modalities.items():
            fingerprints.setdefault(modality, vectors.origin.fingerprint)
        directions = dict(_directions(_sides(modalities, collection, settings), settings))
        if directions:
            results[collection] = directions
    if not results:
        raise DataError(
            f"nothing to evaluate: {', '.join(map(str, embeddings))} hold no two modalities of "
            f"the held-out pieces of {', '.join(held_out) or 'any collection'}"
        )
    report = {
        "tie_rule": TIE_RULE,
        "hits_at": list(settings.hits_at),
        "fingerprints": fingerprints,
        "collections": results,
    }
    write_json(out, report)
    return report


def _held_out(manifests: Sequence[Path]) -> dict[str, dict[str, set[str]]]:
    """The ids of the held-out pieces by collection (the trained one first) and modality."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in map(Path, manifests):
        collection, modality, split = manifest_name(path)
        if split != HELD_OUT:
            raise DataError(
                f"{path}: pieces of split {split}; figures are only told of held-out pieces, "
                f"expected manifests of split {HELD_OUT}"
            )
        ids = {row["id"] for _, row in read_jsonl(path)}
        modalities = found.setdefault(collection, {"text": set()})
        modalities.setdefault(modality, set()).update(ids)
        modalities["text"] |= ids
    return {name: found[name] for name in sorted(found, key=lambda n: (n != TRAINED_COLLECTION, n))}


def _tables(
    embeddings: Sequence[Path], collection: str, held_out: dict[str, set[str]]
) -> dict[str, Vectors]:
    """The held-out vectors of each modality that has any."""
    tables = {}
    for modality in MODALITIES:
        ids = held_out.get(modality)
        paths = [Path(folder) / collection / f"{modality}.parquet" for folder in embeddings]
        path = next((path for path in paths if path.exists()), None)
        if path is None or not ids:
            continue
        vectors = read_vectors(path)
        kept = vectors.take([row for row, name in enumerate(vectors.ids) if name in ids])
        missing = len(ids) - len(set(kept.ids))
        if missing and modality != "text":  # a piece need not have a text
            log.warning("%s: %d of %d held-out pieces have no vector", path, missing, len(ids))
        if kept.ids:
            tables[modality] = kept
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
