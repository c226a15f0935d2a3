"""The warm model of a service: texts and uploaded files to embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clamp3.errors import ConfigError, FormatError
from clamp3.formats.images import Picture
from clamp3.formats.modality import FileFormat
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.reading import Prepared
from clamp3.retrieval.embedding.segments import TOWER_OF
from clamp3.retrieval.embedding.sources import MODALITY_OF, Source
from clamp3.service.failures import spellings
from clamp3.service.upload_reading import Read, UploadReader

WARM_TEXT = "a tune"


@dataclass(frozen=True)
class Embedded:
    """The embedding [D] of a file, and what a captioner says of it where it is an image."""

    vector: np.ndarray
    caption: str | None = None


class WarmModel:
    """An embedder whose towers are in memory."""

    def __init__(self, embedder: Embedder | ClapEmbedder):
        self._embedder = embedder
        self._engine = embedder.engine
        self._clap = isinstance(embedder, ClapEmbedder)
        if not self._clap and self._engine.is_m3:
            raise ConfigError(f"{embedder.source}: an M3, which has no space to search in")
        self._refused = self._refusals()
        # Features are for those who know what they do: sound is what "audio" promises.
        formats = set(FileFormat) - {FileFormat.NUMPY} - self._refused.keys()
        read = {MODALITY_OF[one] for one in formats}
        self.modalities = [name for name in TOWER_OF if name in read]

    @property
    def space(self) -> str:
        """The model's fingerprint."""
        return self._embedder.space

    @property
    def source(self) -> str | Path:
        """Where the model was read from."""
        return self._embedder.source

    @property
    def hidden(self) -> dict[str, str]:
        """What must not leave the machine, and what stands for it, see `cleaned`."""
        choice, found = self._engine.choice, spellings(self.source, "the model")
        for folder in getattr(choice, "adapters", {}).values():
            found |= spellings(folder, "the adapter")
        for name in ("mert", "captioner", "tokenizer"):
            if folder := getattr(choice, name, None):
                found |= spellings(folder, f"the {name}")
        return found

    @property
    def kind(self) -> str:
        """clamp2, clamp3 or clap_musicgen."""
        return "clap_musicgen" if self._clap else self._embedder.config.kind

    def warm_up(self) -> None:
        """Read all weights that are to be used."""
        if not self._clap:
            for tower in dict.fromkeys(TOWER_OF[name] for name in self.modalities):
                self._engine.load(tower)
        if "image" in self.modalities:
            self._engine.captioner()
        if "text" in self.modalities:
            self.texts([WARM_TEXT])

    def upload_reader(self, recording_seconds: float) -> UploadReader:
        """What reads uploaded files."""
        sound = FileFormat.AUDIO not in self._refused
        reader = self._embedder.reader(sound=sound)
        return UploadReader(reader, self._refused, recording_seconds)

    def texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The embedding [D] of each text, computed together."""
        return list(self._embedder.embed_text(list(texts)))

    def files(self, files: Sequence[Read]) -> list[Embedded | FormatError]:
        """The embedding of each file, computed together, or why there is none."""
        captions = [self._caption(file.piece) for file in files]
        group = [
            (file.source, Prepared("", caption or file.piece))
            for file, caption in zip(files, captions, strict=True)
        ]
        results = self._engine.group_results(group)
        return [
            result if isinstance(result, FormatError) else Embedded(result, caption)
            for result, caption in zip(results, captions, strict=True)
        ]

    def _caption(self, piece: object) -> str | None:
        """The words that are embedded in place of a picture."""
        if not isinstance(piece, Picture):
            return None
        return next(iter(self._engine.captioner().describe([piece.pixels])), None)

    def _refusals(self) -> dict[FileFormat, FormatError]:
        """The formats that the model does not read, and why."""
        found = {}
        for file_format in FileFormat:
            reason = self._embedder.refusal(Source("", Path(), file_format))
            if reason is None and file_format is FileFormat.AUDIO and not self._clap:
                reason = self._deaf()
            if reason is not None:
                found[file_format] = reason
        return found

    def _deaf(self) -> FormatError | None:
        """Why sound cannot be described."""
        try:
            self._engine.front_end()
        except ConfigError as error:
            return FormatError("no_front_end", str(error))
        return None
