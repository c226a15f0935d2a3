"""What a service does with a request: its warm model, the collection, and all that works for it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from starlette.concurrency import run_in_threadpool

from clamp3.errors import ConfigError, FormatError
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.index.filters import Condition, parse_conditions
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.rows import MODALITY
from clamp3.service.answers import Query, Result, Results
from clamp3.service.batching import Batcher
from clamp3.service.collection import Collection, Question, Snapshot
from clamp3.service.embedding import Embedded, WarmModel
from clamp3.service.failures import busy, spellings
from clamp3.service.metrics import Metrics
from clamp3.service.readers import Readers
from clamp3.service.settings import Settings
from clamp3.service.upload_reading import Read, Upload
from clamp3.service.uploads import UploadFolder

FILES_AT_ONCE = 8


class SearchService:
    """Answers searches; `close` ends its threads and processes and removes what was uploaded.

    Raises ConfigError for a model without a space, DataError for an index that is not of its.
    """

    def __init__(self, embedder: Embedder | ClapEmbedder, index_folder: Path, settings: Settings):
        self.settings = settings
        self.metrics = Metrics()
        self.model = WarmModel(embedder)
        self.collection = Collection(index_folder, embedder.space, embedder.source)
        self.uploads = UploadFolder()
        reader = self.model.upload_reader(settings.recording_seconds)
        self._readers = Readers(reader, settings.readers, settings.seconds)
        wait, most = settings.wait_seconds, settings.batch
        self._texts = self._batcher("texts", self.model.texts, most, wait)
        self._files = self._batcher("files", self.model.files, FILES_AT_ONCE, wait)
        self._searches = self._batcher("searches", self.collection.search, most, 0.0)
        self.hidden = spellings(index_folder, "the index") | self.model.hidden

    def start(self) -> None:
        """Do now what the first requests would else wait for."""
        self._readers.start()
        self.model.warm_up()
        width = self.collection.newest().index.manifest.width
        self.collection.search([Question(np.ones(width, np.float32), 1)])  # compiles the scan

    def close(self) -> None:
        """End all threads and processes, and remove what was uploaded."""
        for batcher in (self._texts, self._files, self._searches):
            batcher.close()
        self._readers.close()
        self.uploads.close()

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Ends the block when it takes too long. Raises RequestError: 503."""
        try:
            async with asyncio.timeout(self.settings.seconds):
                yield
        except TimeoutError as error:
            limit = f"{self.settings.seconds:g} s"
            raise busy(f"not done after {limit}, which is the limit", "timed_out", 5) from error

    async def by_text(self, text: str, asked: "Asked") -> Results:
        """What is near to a text."""
        if not text.strip():
            raise ConfigError("the query is empty")
        if "text" not in self.model.modalities:
            raise ConfigError("the model reads no text")
        vector = await self._texts.result(text)
        query = Query(kind="text", text=text, file=None, caption=None)
        return await self._results(vector, query, asked)

    async def by_piece(self, name: str, asked: "Asked") -> Results:
        """What is near to a piece of the collection."""
        query = Query(kind="like", text=name, file=None, caption=None)
        return await self._results(name, query, asked)

    async def by_file(self, upload: Upload, asked: "Asked") -> Results:
        """What is near to an uploaded file."""
        read: Read = await self._readers.result(upload)
        if isinstance(read.piece, FormatError):
            raise read.piece
        embedded: Embedded = await self._files.result(read)
        kind, caption = read.source.modality, embedded.caption
        query = Query(kind=kind, text=None, file=upload.name, caption=caption)
        return await self._results(embedded.vector, query, asked)

    async def _results(self, near: np.ndarray | str, query: Query, asked: "Asked") -> Results:
        question = Question(near, asked.count, asked.where, asked.approximate)
        snapshot, hits = await self._searches.result(question)
        results = await run_in_threadpool(_described, snapshot, hits)
        seconds = round(time.monotonic() - asked.start, 6)
        return Results(query=query, model=self.model.space, seconds=seconds, results=results)

    def _batcher(self, name: str, compute: Callable, most: int, wait: float) -> Batcher:
        observe = self.metrics.batches.labels(name).observe
        return Batcher(name, compute, wait_seconds=wait, most=most, observe=observe)


class Asked:
    """What every search may ask for. Raises ConfigError for a condition that is none."""

    def __init__(self, count: int, where: Sequence[str], modality: str | None, approximate: bool):
        self.start = time.monotonic()
        self.count = count
        self.approximate = approximate
        own = [Condition(MODALITY, "=", modality)] if modality else []
        self.where = parse_conditions([*where, *own])


def _described(snapshot: Snapshot, hits: Sequence[Hit]) -> list[Result]:
    found = []
    for rank, hit in enumerate(hits, start=1):
        card = snapshot.card(hit.id)
        found.append(
            Result(
                rank=rank,
                id=hit.id,
                similarity=hit.similarity,
                modality=hit.labels.get(MODALITY),
                title=card.title,
                metadata=hit.metadata,
                formats=card.formats,
            )
        )
    return found
