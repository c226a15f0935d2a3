"""CLAP-MusicGen at work: files to chunks, and groups of pieces to unit vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from clamp3.config import RecordingChunks
from clamp3.errors import CheckpointError, FormatError
from clamp3.models.clap_musicgen.checkpoints import LoadedClap, load_clap
from clamp3.retrieval.embedding.clap_vectors import chunk_vectors, recording_vector, text_vectors
from clamp3.retrieval.embedding.engine import dtype_of
from clamp3.retrieval.embedding.files import Group, Result
from clamp3.retrieval.embedding.reading import Reader
from clamp3.retrieval.embedding.sources import Source, read_piece
from clamp3.retrieval.features.chunks import cut_chunks, read_chunks
from clamp3.retrieval.features.codes import decoder_states

SHORTEST_SECONDS = 0.1  # of a recording
MIN_TAIL_SECONDS = 1.0  # of a recording's last chunk, unless it is the only one
MOST_CHUNKS = 1440  # of a recording: six hours of 15 s
NOT_FINITE = FormatError("not_finite", "its embedding is not finite")


@dataclass(frozen=True)
class Chunked:
    """A recording in chunks [S] at the codec's rate."""

    chunks: list[np.ndarray]

    @classmethod
    def read(cls, source: Path | bytes, plan: RecordingChunks, rate_hz: int) -> "Chunked":
        """Those of a sound file. Raises FormatError."""
        return cls._without_tail(read_chunks(source, plan, rate_hz), rate_hz)

    @classmethod
    def of(cls, waveform: np.ndarray, plan: RecordingChunks, rate_hz: int) -> "Chunked":
        """Those of a waveform [S] at the codec's rate. Raises FormatError."""
        return cls._without_tail(cut_chunks(waveform, plan, rate_hz), rate_hz)

    @classmethod
    def _without_tail(cls, chunks: list[np.ndarray], rate_hz: int) -> "Chunked":
        short = len(chunks) > 1 and len(chunks[-1]) < MIN_TAIL_SECONDS * rate_hz
        return cls(chunks[:-1] if short else chunks)

    @property
    def nbytes(self) -> int:
        """How much memory it takes."""
        return sum(chunk.nbytes for chunk in self.chunks)


@dataclass(frozen=True)
class ChunkReader(Reader):
    """Turns a file into a text or into chunks of sound."""

    plan: RecordingChunks | None = None
    rate_hz: int = 0

    def piece(self, source: Source) -> str | Chunked:
        """The piece of a file. Raises FormatError where it cannot be read."""
        if source.is_sound:
            return Chunked.read(source.path, self.plan, self.rate_hz)
        return read_piece(source)


@dataclass(frozen=True)
class ClapChoice:
    """Which model, and how it computes; see ClapEmbedder."""

    source: str | Path
    dtype: str = "float32"
    tokenizer: str | Path | None = None
    towers: tuple[str, ...] | None = None

    def load(self, device: str) -> LoadedClap:
        """The model. Raises ConfigError for an unknown dtype, CheckpointError."""
        how = {"dtype": dtype_of(self.dtype), "tokenizer": self.tokenizer, "towers": self.towers}
        return load_clap(self.source, device=device, **how)


class ClapEngine:
    """The model of a choice on one device."""

    def __init__(self, choice: ClapChoice, device: str):
        self.choice = choice
        self.loaded = choice.load(device)
        self.model, self.device = self.loaded.model, device

    def check(self, tower: str) -> None:
        """Raise CheckpointError where the model has no such tower, or no tokenizer for texts."""
        if tower not in self.model.towers:
            has = ", ".join(self.model.towers)
            raise CheckpointError(f"{self.choice.source} has no {tower} tower (only {has})")
        if tower == "text" and self.loaded.tokenizer is None:
            raise CheckpointError(
                f"{self.choice.source} holds no tokenizer; name the folder of one, such as that of "
                "the RoBERTa it was trained with"
            )

    def texts(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The unit vector [D] of each text; what is beyond the longest text is left out."""
        self.check("text")
        return text_vectors(self.model, self.loaded.tokenizer, texts)

    @torch.inference_mode()
    def chunks(self, recordings: Sequence[Chunked]) -> list[np.ndarray]:
        """The unit vectors [chunks, D] of each recording."""
        self.check("audio")
        flat = [chunk for recording in recordings for chunk in recording.chunks]
        states = decoder_states(self.model.audio_model, self.model.codec.codes_of(flat))
        ends = np.cumsum([len(recording.chunks) for recording in recordings])[:-1]
        return chunk_vectors(self.model, np.split(states, ends)) if recordings else []

    def recordings(self, recordings: Sequence[Chunked]) -> list[np.ndarray]:
        """The unit vector [D] of each recording: along the mean of its chunks' vectors."""
        return [recording_vector(own) for own in self.chunks(recordings)]

    def results(self, pieces: Sequence[str | Chunked | FormatError | None]) -> list[Result]:
        """What becomes of each piece: its vector, or why there is none; None stays."""
        found: list = list(pieces)
        for kind, compute in ((str, self.texts), (Chunked, self.recordings)):
            own = [place for place, piece in enumerate(pieces) if isinstance(piece, kind)]
            made = compute([pieces[place] for place in own]) if own else []
            for place, vector in zip(own, made, strict=True):
                found[place] = vector if np.isfinite(vector).all() else NOT_FINITE
        return found

    def group_results(self, group: Group, temporal: bool = False) -> list[Result]:
        """The results of a group of files; there are no temporal ones."""
        return self.results([prepared.piece for _, prepared in group])
