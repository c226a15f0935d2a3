"""A folder of music, embedded when it is first searched; later only what has changed."""

import hashlib
import logging
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from clamp3.data.raw_files.archive_index import cache_home
from clamp3.errors import DataError
from clamp3.files import write_text
from clamp3.retrieval.embedding.command import workers_for
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.files import Rejects
from clamp3.retrieval.embedding.parquet_output import ParquetOutput
from clamp3.retrieval.embedding.sources import Source, find_sources
from clamp3.retrieval.index.store import writing
from clamp3.retrieval.vectors import Vectors, read_vectors

log = logging.getLogger(__name__)
NAME_DIGITS = 16  # of hashes in names


def embedded_folder(folder: Path, embedder: Embedder) -> Vectors:
    """The embeddings of all files of a folder that can be embedded, sorted by id.

    They are kept in the user's cache (`cache_home`), told apart by the file's content and by the
    model and how it reads: what is known is not computed again, nor what was done before a kill.
    The files that cannot be embedded are logged.

    Raises DataError where there are none that can.
    """
    sources, rejected = find_sources([folder])
    place = cache_home() / "collections" / _digest(str(Path(folder).resolve()))
    tables = []
    if sources:
        with writing(place):
            name = str(Path(folder).resolve()).encode("utf-8", "replace").decode()
            write_text(place / "folder.txt", f"{name}\n")  # for people
            sources.sort(key=attrgetter("modality", "id"))
            for modality, own in groupby(sources, key=attrgetter("modality")):
                # A table each: a first image does not change how scores are made.
                table, failed = _table(place, modality, list(own), embedder)
                tables += [table] if table else []
                rejected += failed
    for name, error in rejected:
        log.warning("%s: %s (%s)", name, error, error.kind)
    if not tables:
        raise DataError(f"{folder}: neither tables of embeddings nor files that could be embedded")
    return _together(tables, embedder)


def _table(
    place: Path, modality: str, sources: list[Source], embedder: Embedder
) -> tuple[Vectors | None, Rejects]:
    making = embedder.making(sources)
    path = place / f"{modality}-{_digest(making.mark)}.parquet"
    rejected = embedder.embed_to(
        ParquetOutput(path, making), sources, workers=workers_for(len(sources))
    )
    if len(rejected) == len(sources):  # then nothing was written
        return None, rejected
    return read_vectors(path), rejected


def _together(tables: list[Vectors], embedder: Embedder) -> Vectors:
    modalities = [modality for table in tables for modality in table.labels["modality"]]
    whole = Vectors(
        [name for table in tables for name in table.ids],
        np.concatenate([table.embeddings for table in tables]),
        embedder.origin(modalities),
        {"modality": modalities},
    )
    return whole.take(sorted(range(len(whole.ids)), key=lambda row: whole.ids[row]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:NAME_DIGITS]
