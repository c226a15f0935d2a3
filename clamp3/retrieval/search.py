"""Embedding a user's files, and searching tables of embeddings with text or with a file."""

import functools
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.formats.audio import MelFrontEnd
from clamp3.logs import progress
from clamp3.models.checkpoints import LoadedClamp, load_clamp, read_config
from clamp3.retrieval.embedding import TOWER_OF, best_device, embed_pieces, embed_stream
from clamp3.retrieval.examples import nearest
from clamp3.retrieval.features import FrontEnd
from clamp3.retrieval.sources import Source, attempt, find_sources, read_piece
from clamp3.retrieval.vectors import Origin, Vectors, read_vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hit:
    """One found row: its id, its cosine with the query, and its labels (modality, field)."""

    id: str
    similarity: float
    labels: dict[str, str]


class Embedder:
    """A model folder, read tower by tower when a piece needs it.

    `adapter`: a LoRA folder for the symbolic tower; `mert`: a MERT folder for sound files, where
    the model's frames are not those of the built-in front end; `batch_tokens`: positions computed
    at once; `device`: None takes a GPU where there is one.
    """

    def __init__(
        self,
        model: Path,
        *,
        adapter: Path | None = None,
        mert: Path | None = None,
        batch_tokens: int = 8192,
        device: str | None = None,
    ):
        self.model = Path(model)
        self.config = read_config(model)
        self._adapter = adapter
        self._mert = mert
        self._batch_tokens = batch_tokens
        self._device = device or best_device()
        self._towers: dict[str, LoadedClamp] = {}

    @property
    def space(self) -> str:
        """The fingerprint of the model without adapter."""
        return self.config.fingerprint

    def origin(self, modalities: Iterable[str]) -> Origin:
        """What tables of this model's embeddings say of themselves."""
        names = sorted(set(modalities))
        adapted = self._adapter and {"abc", "mtf"} & set(names)
        fingerprint = self._tower("symbolic").fingerprint if adapted else self.space
        return Origin(fingerprint, self.space, ",".join(names), "")

    def embed_text(self, text: str) -> np.ndarray:
        """The embedding [D] of a text."""
        return embed_pieces(self._tower("text"), "text", [text])[0]

    def embed_sources(
        self, sources: Sequence[Source]
    ) -> tuple[Vectors, list[tuple[str, FormatError]]]:
        """The embeddings of the files in their order, and (id, reason) of those without one."""
        found: dict[str, np.ndarray] = {}
        refused: list[tuple[str, FormatError]] = []
        front_end = self._front_end() if any(s.is_sound for s in sources) else None
        for modality in TOWER_OF:
            own = [source for source in sources if source.modality == modality]
            for name, result in self._stream(modality, own, front_end) if own else ():
                if isinstance(result, FormatError):
                    refused.append((name, result))
                else:
                    found[name] = result
        kept = [source for source in sources if source.id in found]
        modalities = [source.modality for source in kept]
        matrix = np.stack([found[s.id] for s in kept]) if kept else np.empty((0, 0), np.float32)
        vectors = Vectors(
            [source.id for source in kept],
            matrix,
            self.origin(modalities),
            {"modality": modalities},
        )
        return vectors, refused

    def _stream(
        self, modality: str, sources: Sequence[Source], front_end: FrontEnd | None
    ) -> Iterable[tuple[str, np.ndarray | FormatError]]:
        read = functools.partial(read_piece, front_end=front_end)
        reads = [(source.id, functools.partial(attempt, read, source)) for source in sources]
        loaded = self._tower(TOWER_OF[modality])
        results = embed_stream(loaded, modality, reads, batch_tokens=self._batch_tokens)
        return progress(results, modality, total=len(reads))

    def _tower(self, name: str) -> LoadedClamp:
        if name not in self._towers:
            self._towers[name] = load_clamp(
                self.model, towers=[name], adapter=self._adapter, device=self._device
            )
        return self._towers[name]

    def _front_end(self) -> FrontEnd:
        """Asked for before anything is computed, so that its absence costs no time."""
        if self._mert is not None:
            from clamp3.models.mert import MertFrontEnd

            return MertFrontEnd(self._mert, self._device)
        wanted = self._tower("audio").config.audio.feature_size
        if wanted != MelFrontEnd.feature_size:
            raise ConfigError(
                f"{self.model}: reads recordings as frames of width {wanted}, which the built-in "
                f"front end (width {MelFrontEnd.feature_size}) does not make; name a MERT "
                "checkpoint folder with --mert, or give .npy features"
            )
        return MelFrontEnd()


def search(
    query: np.ndarray, tables: Sequence[Vectors], count: int, *, modality: str | None = None
) -> list[Hit]:
    """The `count` rows of all tables nearest to the query [D], best first.

    With `modality` only rows of that one. Equal similarities stay in the order of the tables.
    """
    rows = [
        (similarity, vectors, row)
        for vectors in tables
        for row, similarity in nearest(query, vectors.embeddings, len(vectors.ids))
        if modality in (None, _modality(vectors, row))
    ]
    best = sorted(rows, key=lambda found: -found[0])[:count]
    return [_hit(similarity, vectors, row) for similarity, vectors, row in best]


def read_tables(source: Path, embedder: Embedder) -> list[Vectors]:
    """The tables of embeddings to search: one file, all in a folder, or a folder of raw files.

    Raw files (of a folder without any table) are embedded now; which of them could not be is
    logged.

    Raises DataError where there is nothing to search, or a table is of another model.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    paths = [source] if source.is_file() else sorted(source.rglob("*.parquet"))
    tables = {path: read_vectors(path) for path in paths if source.is_file() or _is_table(path)}
    for path, vectors in tables.items():
        if vectors.origin.space != embedder.space:
            raise DataError(
                f"{path}: embeddings of model {vectors.origin.space[:16]}, but {embedder.model} is "
                f"{embedder.space[:16]}; vectors of two models cannot be compared: embed again"
            )
    return list(tables.values()) or [_embedded_now(source, embedder)]


def query_vector(query: str, embedder: Embedder) -> np.ndarray:
    """The embedding [D] of the query: the file of that name if there is one, else the text.

    Raises FormatError where the file cannot be read, ConfigError for an empty query.
    """
    if not query.strip():
        raise ConfigError("the query is empty")
    if not _is_file(query):
        return embedder.embed_text(query)
    sources, refused = find_sources([Path(query)])
    if not refused:
        vectors, refused = embedder.embed_sources(sources)
    if refused:
        raise FormatError(refused[0][1].kind, f"{query}: {refused[0][1]}")
    return vectors.embeddings[0]


def _is_file(query: str) -> bool:
    try:
        return Path(query).is_file()
    except (OSError, ValueError):  # a text too long for a name, or with a NUL
        return False


def _is_table(path: Path) -> bool:
    return "embedding" in pq.read_schema(path).names


def _embedded_now(folder: Path, embedder: Embedder) -> Vectors:
    sources, refused = find_sources([folder])
    vectors, failed = embedder.embed_sources(sources)
    for name, error in [*refused, *failed]:
        log.warning("%s: %s (%s)", name, error, error.kind)
    if not vectors.ids:
        raise DataError(f"{folder}: neither tables of embeddings nor files that could be embedded")
    return vectors


def _modality(vectors: Vectors, row: int) -> str:
    return (
        vectors.labels["modality"][row] if "modality" in vectors.labels else vectors.origin.modality
    )


def _hit(similarity: float, vectors: Vectors, row: int) -> Hit:
    labels = {name: values[row] for name, values in vectors.labels.items()}
    return Hit(vectors.ids[row], similarity, {"modality": _modality(vectors, row)} | labels)
