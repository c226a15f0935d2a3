"""All embeddings of a model: one table for each collection and modality that manifests name."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clamp3.config import EmbedConfig
from clamp3.data.pairs import Pair, load_pairs
from clamp3.data.piece_reader import PieceReader
from clamp3.data.rejected import Rejected, summary, write_rejected
from clamp3.errors import DataError, FormatError
from clamp3.logs import progress
from clamp3.models.checkpoints import LoadedClamp, load_clamp, read_config
from clamp3.retrieval.embedding.segments import (
    TOWER_OF,
    Piece,
    best_device,
    cpu_threads,
    embed_stream,
)
from clamp3.retrieval.vectors import Origin, Vectors, manifest_name, write_vectors

log = logging.getLogger(__name__)

STAGE = "embed"
TEXT_FIELDS = ("background", "analysis", "description", "scene")
SUFFIXES = {"abc": ".abc", "mtf": ".mtf", "audio": ".npy"}


class Entry(NamedTuple):
    """One row to be: the piece, which of its texts (None: not a text), and how to get it."""

    id: str
    field: str | None
    read: Callable[[], Piece]


class Outcome(NamedTuple):
    """What became of the entries of one table: `rows_in == rows_out + len(rejected)`."""

    table: str
    rows_in: int
    rows_out: int
    rejected: list[Rejected]


def embed_model(
    model: Path,
    manifests: Sequence[Path],
    out: Path,
    settings: EmbedConfig,
    *,
    adapters: dict[str, Path | None] | None = None,
    rejected: Path | None = None,
    root: Path = Path("."),
    device: str | None = None,
) -> None:
    """Write out/<collection>/<modality>.parquet for all pieces of the manifests.

    `manifests`: files <collection>-<modality>-<split>.jsonl. A table is written for each
    collection's texts, field by field, and for each modality it has a manifest of; it holds the
    pieces of all splits given, and may be empty. `adapters` (modality → folder or none): then only
    the tables of these modalities are written, each with its adapter in the symbolic tower. `root`:
    what the manifests' paths are relative to. `device`: None takes a GPU where there is one.

    Pieces that cannot be embedded stand in `rejected`, None: out/rejected.parquet. Raises DataError
    when that is every piece of a table; all tables and the rejected one are written before.
    """
    named = [(manifest_name(path), path) for path in sorted(map(Path, manifests))]
    space = read_config(model).fingerprint
    outcomes: list[Outcome] = []
    with cpu_threads(settings.threads):
        for modality in adapters or TOWER_OF:
            adapter = (adapters or {}).get(modality)
            tables = _manifests_of(modality, named)
            if tables:
                loaded = load_tower(model, modality, adapter=adapter, device=device)
            for collection, paths in tables.items():
                origin = Origin(loaded.fingerprint, space, modality, collection)
                entries = _entries(load_pairs(paths), modality, root)
                table = Path(out) / collection / f"{modality}.parquet"
                outcomes.append(
                    embed_collection(loaded, entries, table, origin, settings.batch_tokens)
                )
    close(outcomes, rejected or Path(out) / "rejected.parquet")


def load_tower(
    model: Path, modality: str, *, adapter: Path | None = None, device: str | None = None
) -> LoadedClamp:
    """What of a model reads a modality, its weights verified; `device`: None takes a GPU if any."""
    return load_clamp(
        model,
        towers=[TOWER_OF[modality]],
        adapter=adapter,
        device=device or best_device(),
        verify=True,
    )


def embed_collection(
    loaded: LoadedClamp, entries: Sequence[Entry], table: Path, origin: Origin, batch_tokens: int
) -> Outcome:
    """Write the table of one collection and modality; returns what became of its entries.

    Columns id, for texts `field`, embedding: a row for each entry that could be embedded, in the
    order of the entries.
    """
    keyed = [((entry.id, entry.field), entry.read) for entry in entries]
    found = embed_stream(loaded, origin.modality, keyed, batch_tokens=batch_tokens)
    keys, rejected = [], []
    embeddings = [np.empty((0, loaded.config.width), dtype=np.float32)]
    name = f"{origin.collection} {origin.modality}"
    for key, result in progress(found, name, total=len(entries)):
        if isinstance(result, FormatError):
            rejected.append(_rejected(key, origin.modality, result))
        else:
            keys.append(key)
            embeddings.append(result[None])
    labels = {"field": [key[1] for key in keys]} if origin.modality == "text" else {}
    ids = [key[0] for key in keys]
    write_vectors(table, Vectors(ids, np.concatenate(embeddings), origin, labels))
    return Outcome(name, len(entries), len(keys), rejected)


def _manifests_of(
    modality: str, manifests: Sequence[tuple[tuple[str, str, str], Path]]
) -> dict[str, list[Path]]:
    """For each collection with the modality (a text has every one) the manifests to read."""
    found: dict[str, list[Path]] = {}
    for (collection, own, _), path in manifests:
        if modality in ("text", own):
            found.setdefault(collection, []).append(path)
    return found


def _entries(pairs: Sequence[Pair], modality: str, root: Path) -> list[Entry]:
    if modality == "text":
        return [
            Entry(pair.id, name, partial(str, pair.texts[name]))
            for pair in pairs
            for name in TEXT_FIELDS
            if pair.texts.get(name)
        ]
    return music_entries(pairs, modality, root)


def music_entries(pairs: Sequence[Pair], modality: str, root: Path) -> list[Entry]:
    """An entry for each piece that has a file of the modality: the first such file."""
    reader = PieceReader(root)
    kept = (pair.with_suffix((SUFFIXES[modality],)) for pair in pairs)
    return [
        Entry(pair.id, None, partial(_read, reader, pair.filepaths[0]))
        for pair in kept
        if pair.filepaths
    ]


def _read(reader: PieceReader, filepath: str) -> Piece:
    """The piece; a file that cannot be opened costs itself, a store that does not fit is fatal."""
    try:
        return reader.read(filepath)
    except OSError as error:
        raise FormatError("unreadable_file", f"{filepath}: {error.strerror}") from error


def _rejected(key: tuple[str, str | None], modality: str, error: FormatError) -> Rejected:
    what = modality if key[1] is None else f"{modality} ({key[1]})"
    return Rejected(key[0], STAGE, error.kind, f"{what}: {error}")


def close(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the rejected table and log the balance; raise DataError where nothing of a table is
    left, or there was nothing at all."""
    rejected = [row for outcome in outcomes for row in outcome.rejected]
    write_rejected(path, rejected)
    for name, rows_in, rows_out, refused in outcomes:
        log.info("embed %s: %d in, %d out, %d rejected", name, rows_in, rows_out, len(refused))
    failed = [o.table for o in outcomes if o.rows_in and not o.rows_out]
    if failed:
        raise DataError(f"nothing could be embedded of {', '.join(failed)}. {summary(rejected)}")
    if not any(outcome.rows_in for outcome in outcomes):
        raise DataError("the manifests name no piece that this model could embed")
