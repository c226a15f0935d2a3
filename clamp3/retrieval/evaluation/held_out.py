"""Held-out retrieval of one model: every direction between the modalities of each collection."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import read_jsonl, write_json, write_table
from clamp3.retrieval.evaluation.figures import Ranked, Task, figures_of, parts_of, rank, rank_table
from clamp3.retrieval.evaluation.intervals import LEVEL
from clamp3.retrieval.evaluation.metrics import TIE_RULE
from clamp3.retrieval.keys import NO_KEY
from clamp3.retrieval.vectors import Vectors, manifest_name, read_vectors

log = logging.getLogger(__name__)

MODALITIES = ("text", "abc", "mtf", "audio")
TRAINED_COLLECTION = "pdmx"  # evaluated with one text field; the others with each they have
HELD_OUT = "test"
UNTOLD = "not told"  # of a language
NO_VECTOR, NO_PARTNER = "no_vector", "no_partner"
UNMATCHED = ("collection", "direction", "side", "modality", "id", "reason")


@dataclass(frozen=True)
class Side:
    """One side of a retrieval task: the vectors of a modality, or of one field of the texts."""

    name: str
    modality: str
    field: str | None
    vectors: Vectors


@dataclass(frozen=True)
class Collection:
    """What is held out of a collection, and its vectors.

    `held_out[modality]`: the ids of its pieces, each with its language; text has those of all
    modalities. `tables[modality]`: the vectors of those of them that have any.
    """

    held_out: dict[str, dict[str, str]]
    tables: dict[str, Vectors] = field(default_factory=dict)

    def missing(self, modality: str) -> list[str]:
        """The held-out ids without a vector, sorted; a piece need not have a text."""
        ids = set(self.tables[modality].ids) if modality in self.tables else set()
        return sorted(self.held_out[modality].keys() - ids) if modality != "text" else []


def evaluate_model(
    embeddings: Sequence[Path],
    manifests: Sequence[Path],
    out: Path,
    settings: EvaluateConfig,
    *,
    ranks: Path | None = None,
    unmatched: Path | None = None,
) -> dict:
    """Rank held-out pieces in every direction; the results, which are also written to `out`.

    `embeddings`: tables <collection>/<modality>.parquet; the first of a collection and modality
    counts. Those of an adapter stand among others of its model. `manifests`: files
    <collection>-<modality>-test.jsonl that say which pieces are held out; what else a table holds
    is left out. A gallery holds every held-out piece of its modality that has a vector, and every
    one with a partner there is a query.

    Each direction has its figures with ties shared, chance, 95 % intervals, the figures with ties
    in favour of the right one (`optimistic`), counts, and `languages`, the same by the language of
    the query, where the manifests tell of several. `ranks`: a table to write with a row for each
    query; `unmatched`: one of held-out pieces without a vector (in no direction), of queries that
    nothing answers and of references that nothing asks for.

    Raises DataError where tables come from different models, a manifest is of
    another split, or nothing can be ranked.
    """
    found = read_collections(embeddings, manifests)
    refuse_mixture(found)
    results: dict[str, dict] = {}
    places: list[pa.Table] = []
    lone = [row for name, collection in found.items() for row in _without_vector(name, collection)]
    for name, collection in found.items():
        for direction, header, ranked in _directions(name, collection, settings):
            entry = header | direction_figures(ranked, settings.hits_at)
            results.setdefault(name, {})[direction] = entry
            places.append(_place_table(name, direction, ranked))
            lone += _without_partner(name, direction, header, ranked)
    if not results:
        raise DataError(
            f"nothing to evaluate: {', '.join(map(str, embeddings))} hold no two modalities of "
            f"the held-out pieces of {', '.join(found) or 'any collection'}"
        )
    report = {
        "tie_rule": TIE_RULE,
        "hits_at": list(settings.hits_at),
        "interval_level": LEVEL,
        "fingerprints": _fingerprints(found),
        "coverage": {name: _coverage(collection) for name, collection in found.items()},
        "collections": results,
    }
    write_json(out, report)
    if ranks:
        write_table(ranks, pa.concat_tables(places))
    if unmatched:
        schema = pa.schema([(name, pa.string()) for name in UNMATCHED])
        rows = [dict(zip(UNMATCHED, row, strict=True)) for row in lone]
        write_table(unmatched, pa.Table.from_pylist(rows, schema))
    return report


def read_collections(
    embeddings: Sequence[Path], manifests: Sequence[Path]
) -> dict[str, Collection]:
    """What is held out, by collection (the trained one first), with its vectors.

    Raises DataError for a manifest of another split.
    """
    for path in embeddings:
        if Path(path).is_dir():
            raise DataError(f"{path}: a folder; expected tables <collection>/<modality>.parquet")
    found: dict[str, Collection] = {}
    for path in map(Path, manifests):
        collection, modality, split = manifest_name(path)
        if split != HELD_OUT:
            raise DataError(
                f"{path}: pieces of split {split}; figures are only told of held-out pieces, "
                f"expected manifests of split {HELD_OUT}"
            )
        pieces = {row["id"]: row.get("language") or UNTOLD for _, row in read_jsonl(path)}
        held_out = found.setdefault(collection, Collection({"text": {}})).held_out
        held_out.setdefault(modality, {}).update(pieces)
        held_out["text"].update(pieces)
    for name, collection in found.items():
        collection.tables.update(_tables(embeddings, name, collection.held_out))
        for modality in collection.tables:
            missing, pieces = collection.missing(modality), len(collection.held_out[modality])
            if missing:
                what = f"{name} {modality}: {len(missing)} of {pieces}"
                log.warning("%s held-out pieces have no vector", what)
    return {name: found[name] for name in sorted(found, key=lambda n: (n != TRAINED_COLLECTION, n))}


def _tables(
    embeddings: Sequence[Path], collection: str, held_out: dict[str, dict[str, str]]
) -> Iterator[tuple[str, Vectors]]:
    """Yield the held-out vectors of each modality that has any."""
    own = {path.stem: path for path in reversed(embeddings) if path.parent.name == collection}
    for modality in MODALITIES:
        ids = held_out.get(modality)
        if ids and modality in own:
            kept = read_vectors(own[modality]).of(ids)
            if kept.ids:
                yield modality, kept


def refuse_mixture(found: dict[str, Collection]) -> None:
    """Raise DataError where tables come from different models."""
    spaces: dict[str, str] = {}
    for name, collection in found.items():
        for modality, vectors in collection.tables.items():
            spaces.setdefault(vectors.origin.space, f"{name} {modality}")
    if len(spaces) > 1:
        raise DataError(
            f"embeddings of {' and '.join(spaces.values())} come from different models and cannot "
            "be compared; embed everything again with one of them"
        )


def _fingerprints(found: dict[str, Collection]) -> dict[str, str]:
    """Which model, with its adapter, made the vectors of each modality."""
    fingerprints: dict[str, str] = {}
    for collection in found.values():
        for modality, vectors in collection.tables.items():
            fingerprints.setdefault(modality, vectors.origin.fingerprint)
    return fingerprints


def _coverage(collection: Collection) -> dict[str, dict[str, int]]:
    """How many pieces of each modality are held out, and how many of them have a vector."""
    return {
        name: {
            "held_out": len(collection.held_out[name]),
            "embedded": len(set(collection.tables[name].ids)) if name in collection.tables else 0,
        }
        for name in MODALITIES
        if name in collection.held_out
    }


def sides_of(tables: dict[str, Vectors], text_field: str | None) -> list[Side]:
    """What can ask and be asked for; of the texts each field, or the one that is named, as `text`.

    What has no vectors is left out.
    """
    sides = []
    for modality, vectors in tables.items():
        if modality != "text":
            sides.append(Side(modality, modality, None, vectors))
        elif text_field:
            sides.append(Side("text", "text", text_field, vectors.labelled("field", text_field)))
        else:
            fields = sorted(set(vectors.labels["field"]))
            sides += [Side(n, "text", n, vectors.labelled("field", n)) for n in fields]
    return [side for side in sides if side.vectors.ids]


def _directions(
    name: str, collection: Collection, settings: EvaluateConfig
) -> Iterator[tuple[str, dict, Ranked]]:
    """Yield the name of each direction, who asks whom, and where everything stands."""
    one_field = settings.text_field if name == TRAINED_COLLECTION else None
    for query, reference in itertools.permutations(sides_of(collection.tables, one_field), 2):
        shared = set(query.vectors.ids) & set(reference.vectors.ids)
        if query.modality == reference.modality or not shared:
            continue
        languages = [collection.held_out[query.modality][name] for name in query.vectors.ids]
        asked = replace(query.vectors, labels=query.vectors.labels | {"language": languages})
        header = {
            "query": query.modality,
            "reference": reference.modality,
            "text_field": query.field or reference.field,
        }
        ranked = rank(asked, reference.vectors, Task(by="id"))
        yield f"{query.name}_to_{reference.name}", header, ranked


def direction_figures(ranked: Ranked, hits_at: Sequence[int]) -> dict:
    """The figures of a direction, those with shared ties uppermost, and those of each language.

    The queries have a label `language`.
    """
    task = Task(hits_at=hits_at, per="language")
    counts = {
        "unmatched_queries": int((ranked.groups.queries == NO_KEY).sum()),
        "unmatched_references": int((ranked.groups.references == NO_KEY).sum()),
    }
    found = _flat(ranked, len(ranked.placed.rows), figures_of(ranked, task)) | {"counts": counts}
    asked = ranked.queries.labels["language"]
    if len({asked[row] for row in ranked.placed.rows}) > 1:
        found["languages"] = {
            name: _flat(ranked, part["matched_queries"], part)
            for name, part in parts_of(ranked, task).items()
        }
    return found


def _flat(ranked: Ranked, queries: int, told: dict) -> dict:
    return {
        "queries": queries,
        "references": len(ranked.references.ids),
        **told["figures"]["mean"],
        "chance": told["chance"],
        "intervals": {name: ends for name, ends in told["intervals"].items() if name != "level"},
        "optimistic": told["figures"]["optimistic"],
    }


def _place_table(collection: str, direction: str, ranked: Ranked) -> pa.Table:
    """The rows of `rank_table`, after columns collection, direction and language."""
    table, rows = rank_table(ranked, "mean"), ranked.placed.rows
    columns = {
        "collection": [collection] * len(rows),
        "direction": [direction] * len(rows),
        "language": [ranked.queries.labels["language"][row] for row in rows],
    }
    return pa.table(columns | {name: table[name] for name in table.column_names if name != "key"})


def _without_vector(name: str, collection: Collection) -> Iterator[tuple[str, ...]]:
    for modality in sorted(collection.held_out):
        for piece in collection.missing(modality):
            yield name, "", "", modality, piece, NO_VECTOR


def _without_partner(
    name: str, direction: str, header: dict, ranked: Ranked
) -> Iterator[tuple[str, ...]]:
    sides = (
        ("query", ranked.queries.ids, ranked.groups.queries),
        ("reference", ranked.references.ids, ranked.groups.references),
    )
    for side, ids, keys in sides:
        for row in np.flatnonzero(keys == NO_KEY):
            yield name, direction, side, header[side], ids[row], NO_PARTNER
