"""Contrastive learning: texts and music of the same pieces shall find each other."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from clamp3.data.pairs import Pair, look_through
from clamp3.errors import DataError
from clamp3.formats.patches import truncate_patches
from clamp3.models.clamp import ClampModel
from clamp3.models.tokenizer import encode_texts
from clamp3.randomness import generator, stable_hash
from clamp3.training.batches import Movable, Padded, even_batches, pad_groups, shuffled_batches
from clamp3.training.losses import bounded_scale, contrastive_loss
from clamp3.training.music import RecordedMusic, SymbolicMusic
from clamp3.training.resume import digest, joined_digest, part_digest
from clamp3.training.text_dropout import dropped_text, fixed_text, has_text
from clamp3.training.two_pass import Chunk, Side, vectors_in_chunks

log = logging.getLogger(__name__)
SUFFIXES = {
    "symbolic": (".abc", ".mtf"),
    "abc": (".abc",),
    "mtf": (".mtf",),
    "audio": (".npy",),
}


@dataclass(frozen=True)
class Contrast:
    """How texts and music are chosen and compared."""

    modality: str  # symbolic (scores and performances), abc, mtf or audio
    batch_size: int
    text_dropout: str  # clamp3, clamp2 or none
    instrument_dropout: float
    similarity: str
    logit_scale: float  # where it begins, if it is learned
    learn_scale: bool = False
    mask_duplicates: bool = False
    chunk: int | None = None  # pieces computed at once; None: the whole batch
    text_field: str = "analysis"  # for validation, and in training without text dropout


@dataclass
class PairBatch(Movable):
    """Texts and music of the same pieces, each in groups of like length."""

    ids: list[str]
    texts: list[Padded]
    music: list[Padded]
    keys: Tensor  # int64 [B]: the same for the same text


@dataclass(frozen=True)
class Pieces:
    """Pieces with text, and all their files.

    `said`: of each piece what `said_of` gives, one after the other.
    """

    pairs: Sequence[Pair]
    music: SymbolicMusic | RecordedMusic
    said: bytes

    @property
    def feature_size(self) -> int:
        """The width of the frames of recordings; 0 without any."""
        return getattr(self.music, "feature_size", 0)

    @property
    def digest(self) -> str:
        """One SHA-256 for all that these pieces say and hold."""
        return joined_digest([part_digest(self.music.digest), self.said])


def said_of(pair: Pair) -> bytes:
    """What stands for all that the manifests say of a piece, 32 bytes."""
    return part_digest([pair.id, pair.filepaths, pair.texts])


class _Found(NamedTuple):
    rank: int  # among pieces of which some are chosen
    filepaths: tuple[str, ...]
    said: bytes


def read_pieces(
    manifests: Sequence[Path],
    modality: str,
    patch_size: int,
    cache: Path | None = None,
    *,
    at_most: int | None = None,
    text_dropout: str = "clamp3",
) -> Pieces:
    """The pieces of the manifests that have text by the rule and files of the modality.

    See `Contrast` on both.

    The number of those without text is logged. `cache`: see `SymbolicMusic`. Of more than `at_most`
    the same ones are taken, whatever else there is, by a hash of their ids.
    """

    def look(pair: Pair) -> _Found | None:
        if not has_text(pair.texts, text_dropout):
            return None
        return _Found(stable_hash("piece", pair.id), pair.filepaths, said_of(pair))

    pairs, found = look_through(manifests, SUFFIXES[modality], look)
    kept = [place for place, own in enumerate(found) if own]
    if len(kept) < len(found):
        log.warning("%d of %d pieces have no text, left out", len(found) - len(kept), len(found))
    if at_most is not None:
        kept = sorted(kept, key=lambda place: found[place].rank)[:at_most]
    paths = [path for place in kept for path in found[place].filepaths]
    if modality == "audio":
        music = RecordedMusic(paths, cache=cache)
    else:
        music = SymbolicMusic(paths, patch_size, cache=cache)
    return Pieces(pairs.take(kept), music, b"".join(found[place].said for place in kept))


class ContrastiveTask:
    """Contrastive learning of a model on pieces, as the training loop wants it.

    `start` is a digest of the weights that the model has now. `rates` can say by parameter what the
    learning rate is multiplied by.
    """

    def __init__(
        self,
        name: str,
        model: ClampModel,
        tokenizer: PreTrainedTokenizerFast,
        contrast: Contrast,
        seed: int,
        start: str,
    ):
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.contrast, self.seed, self.start = contrast, seed, start
        audio, sizes = contrast.modality == "audio", model.config
        self.encode_music = model.encode_audio if audio else model.encode_symbolic
        self.max_rows = sizes.audio.max_frames if audio else sizes.symbolic.patch_length
        self.max_tokens = sizes.text.max_tokens
        self.rates: dict[str, float] = {}
        self.log_scale = _learned_scale(model, contrast) if contrast.learn_scale else None

    @property
    def chunk(self) -> int | None:
        """Of how many pieces the activations fit into memory; None: of the whole batch."""
        return self.contrast.chunk

    @property
    def logit_scale(self) -> float:
        """What similarities are multiplied by now."""
        if self.log_scale is None:
            return self.contrast.logit_scale
        return bounded_scale(self.log_scale.detach()).item()

    def learn_from(self, pieces: Pieces, validation: Pieces) -> None:
        """Train on `pieces`, evaluate on `validation`.

        Raises DataError when there are fewer than two pieces to tell from each other.
        """
        if len(pieces.pairs) < 2:
            raise DataError(
                f"{self.name}: {len(pieces.pairs)} pieces with text and {self.contrast.modality} "
                "music, expected at least two to tell from each other"
            )
        self.pieces, self.validation = pieces, validation
        self._kinds = _places_by_kind(validation.pairs, SUFFIXES[self.contrast.modality])
        learning = [name for name, p in self.model.named_parameters() if p.requires_grad]
        settings = vars(self.contrast) | {"model": self.model.config.model_dump()}
        settings |= {"learning": learning, "rates": self.rates}
        words = self.tokenizer.backend_tokenizer.to_str()
        self.inputs = digest(settings, words, self.start, pieces.digest, validation.digest)
        count = len(validation.pairs)
        log.info("%s: %d pieces, %d for validation", self.name, len(pieces.pairs), count)

    def deal(self, epoch: int) -> list[list[int]]:
        """The pieces of each batch, at random; a last batch of one is left out."""
        rng = generator(self.seed, self.name, "deal", epoch)
        return shuffled_batches(len(self.pieces.pairs), self.contrast.batch_size, rng)

    def collate(self, epoch: int, members: list[int]) -> PairBatch:
        """Texts, files and crops as a generator of seed, epoch and piece decides.

        Source: sanderwood/clamp3@9016d2b code/train_clamp3_symbolic.py
        """
        pairs = [self.pieces.pairs[member] for member in members]
        rngs = [generator(self.seed, self.name, epoch, pair.id) for pair in pairs]
        texts = [self._text(pair, rng) for pair, rng in zip(pairs, rngs, strict=True)]
        music = [self._cropped_music(pair, rng) for pair, rng in zip(pairs, rngs, strict=True)]
        ids = [pair.id for pair in pairs]
        return PairBatch(ids, self._texts(texts, rngs), pad_groups(music), _keys(texts))

    def loss(self, batch: PairBatch | Chunk) -> Tensor:
        """The contrastive loss over the batches of all processes, or a chunk's part of it."""
        if isinstance(batch, Chunk):
            return batch.surrogate()
        vectors = [side.vectors() for side in self.sides(batch)]
        return self.compare(vectors, batch, self.log_scale)

    def sides(self, batch: PairBatch) -> list[Side]:
        """What the text tower reads of the batch, and what the tower of the modality does."""
        music = "audio" if self.contrast.modality == "audio" else "symbolic"
        return [
            Side(self.model.encode_text, batch.texts, self._learns("text")),
            Side(self.encode_music, batch.music, self._learns(music)),
        ]

    def compare(
        self, vectors: Sequence[Tensor], batch: PairBatch, log_scale: Tensor | None
    ) -> Tensor:
        """The contrastive loss over the vectors of all processes; see `two_pass.TwoSidedTask`."""
        if self.log_scale is not None:
            bounded_scale(self.log_scale)
        together = torch.distributed.is_initialized()
        return self._compare(*vectors, batch.keys, log_scale, across_processes=together)

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Mean loss and mean reciprocal rank of text → music for each kind of file.

        Text is `text_field`, music the head of the file. A piece counts once per kind of file.

        Differs: the originals look at the score only where a piece has both, and draw the batches
        anew each time, which makes the best epoch a matter of luck.
        """
        losses, figures = [], {}
        for suffix, places in self._kinds.items():
            if places:
                loss, rank = self._evaluate(suffix, places, device)
                losses.append(loss)
                figures[f"reciprocal_rank_{suffix.lstrip('.')}"] = rank
        return {"loss": sum(losses) / len(losses)} | figures if losses else {}

    def _evaluate(
        self, suffix: str, places: list[int], device: torch.device
    ) -> tuple[float, float]:
        # In order of ids, neighbours may be alike; the order drawn is the same at every call.
        drawn = generator(self.seed, "validation").permutation(len(places))
        parts = []
        for batch in even_batches(len(places), self.contrast.batch_size):
            pairs = [self.validation.pairs[places[drawn[place]]] for place in batch]
            parts.append(self._encode([pair.with_suffix((suffix,)) for pair in pairs], device))
        losses = [self._compare(*part, self.log_scale).item() * len(part[0]) for part in parts]
        texts, music = (torch.cat([part[side] for part in parts]).float() for side in (0, 1))
        return sum(losses) / len(places), _mean_reciprocal_rank(texts, music)

    def _encode(self, pairs: list[Pair], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        said = [fixed_text(pair.texts, self.contrast.text_field) for pair in pairs]
        files = [
            truncate_patches(self.validation.music.rows(pair.filepaths[0]), self.max_rows, None)
            for pair in pairs
        ]
        texts = self._texts(said, [None] * len(pairs))
        batch = PairBatch([], texts, pad_groups(files), _keys(said)).to(device)
        texts, music = (vectors_in_chunks(side, self.chunk) for side in self.sides(batch))
        return texts, music, batch.keys

    def _compare(
        self,
        texts: Tensor,
        music: Tensor,
        keys: Tensor,
        log_scale: Tensor | None,
        *,
        across_processes: bool = False,
    ) -> Tensor:
        how = self.contrast
        return contrastive_loss(
            texts,
            music,
            how.logit_scale if log_scale is None else bounded_scale(log_scale),
            how.similarity,
            keys=keys if how.mask_duplicates else None,
            across_processes=across_processes,
        )

    def _learns(self, tower: str) -> bool:
        prefix = f"{self.model.prefix(tower)}_"
        named = self.model.named_parameters()
        return any(p.requires_grad for name, p in named if name.startswith(prefix))

    def _text(self, pair: Pair, rng: np.random.Generator) -> str:
        if self.contrast.text_dropout == "none":
            return fixed_text(pair.texts, self.contrast.text_field)
        return dropped_text(pair.texts, rng, self.contrast.text_dropout)

    def _cropped_music(self, pair: Pair, rng: np.random.Generator) -> np.ndarray:
        path = pair.filepaths[rng.integers(len(pair.filepaths))]
        bare = bool(rng.random() < self.contrast.instrument_dropout)
        return truncate_patches(self.pieces.music.rows(path, bare), self.max_rows, rng)

    def _texts(self, texts: list[str], rngs: Sequence[np.random.Generator | None]) -> list[Padded]:
        tokens = [np.asarray(ids, dtype=np.int64) for ids in encode_texts(self.tokenizer, texts)]
        cropped = [
            truncate_patches(t, self.max_tokens, rng) for t, rng in zip(tokens, rngs, strict=True)
        ]
        return pad_groups(cropped, self.tokenizer.pad_token_id)


def _places_by_kind(pairs: Sequence[Pair], suffixes: Sequence[str]) -> dict[str, list[int]]:
    """The pieces that have a file of each kind, by where they stand."""
    found: dict[str, list[int]] = {suffix: [] for suffix in suffixes}
    for place, pair in enumerate(pairs):
        for suffix, places in found.items():
            if pair.with_suffix((suffix,)).filepaths:
                places.append(place)
    return found


def _learned_scale(model: ClampModel, contrast: Contrast) -> nn.Parameter:
    """The scale's logarithm, added to the model's parameters; checkpoints do not hold it."""
    start = torch.tensor(math.log(contrast.logit_scale), device=next(model.parameters()).device)
    model.register_parameter("log_scale", nn.Parameter(start))
    return model.log_scale


def _keys(texts: Sequence[str]) -> Tensor:
    """A number int64 [B] for each text, the same for the same text in every process."""
    return torch.tensor([stable_hash(text) >> 1 for text in texts], dtype=torch.int64)


def _mean_reciprocal_rank(queries: Tensor, references: Tensor) -> float:
    """The mean of 1 / rank of each query's own reference by cosine; a tie is a loss."""
    queries = torch.nn.functional.normalize(queries, dim=-1)
    references = torch.nn.functional.normalize(references, dim=-1)
    ranks = []
    for start in range(0, len(queries), 1024):
        scores = queries[start : start + 1024] @ references.T
        own = scores.diagonal(offset=start)[:, None]
        ranks.append((scores >= own).sum(dim=1))
    return (1 / torch.cat(ranks)).mean().item()
