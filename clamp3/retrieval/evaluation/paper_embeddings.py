"""Embeddings of the papers' data sets by any model, for their tables."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from clamp3.config import EmbedConfig
from clamp3.data.pairs import load_pairs
from clamp3.errors import DataError, StorageError
from clamp3.models.checkpoints import read_config
from clamp3.models.hub import resolve
from clamp3.retrieval.embedding.collection import Entry, embed_collection, embed_model, load_tower
from clamp3.retrieval.embedding.segments import TOWER_OF, cpu_threads
from clamp3.retrieval.evaluation.paper_cells import LINES
from clamp3.retrieval.vectors import Origin, manifest_name

log = logging.getLogger(__name__)

LINE_FIELD = "description"  # whose lines are queries of their own


def embed_paper_sets(
    model: Path | str,
    manifests: Sequence[Path],
    out: Path,
    settings: EmbedConfig,
    *,
    adapters: dict[str, Path] | None = None,
    line_collections: Sequence[str] = (),
) -> None:
    """Write out/<collection>/<modality>.parquet of all that the model can read.

    As `embed_model`, whose arguments these are, but `model` may be a name on the hub, and
    modalities without an adapter are embedded, too. For
    `line_collections` out/<collection>/lines.parquet has a row for each line of the descriptions:
    the captions of Song Describer are queries one by one. What nothing can be embedded of has an
    empty table, and stands in out/rejected.parquet.
    """
    folder = resolve(model)
    towers = read_config(folder).architecture.towers
    chosen = [path for path in manifests if TOWER_OF[manifest_name(path)[1]] in towers]
    if not chosen:
        raise DataError(f"{model}: its towers, {', '.join(towers)}, read none of the collections")
    by_modality = {modality: (adapters or {}).get(modality) for modality in TOWER_OF}
    try:
        embed_model(folder, chosen, out, settings, adapters=by_modality)
    except StorageError:  # of a table that could not be written
        raise
    except DataError as error:  # all tables are written before, and the table says what is empty
        log.warning("%s", error)
    lines = [path for path in chosen if manifest_name(path)[0] in line_collections]
    if lines:
        _embed_lines(folder, lines, Path(out), settings)


def _embed_lines(model: Path, manifests: Sequence[Path], out: Path, settings: EmbedConfig) -> None:
    with cpu_threads(settings.threads):
        loaded = load_tower(model, "text")
        for collection in sorted({manifest_name(path)[0] for path in manifests}):
            own = [path for path in manifests if manifest_name(path)[0] == collection]
            entries = [
                Entry(pair.id, LINE_FIELD, partial(str, line))
                for pair in load_pairs(own)
                for line in (pair.texts.get(LINE_FIELD) or "").splitlines()
                if line.strip()
            ]
            origin = Origin(loaded.fingerprint, loaded.fingerprint, "text", collection)
            table = out / collection / f"{LINES}.parquet"
            embed_collection(loaded, entries, table, origin, settings.batch_tokens)
