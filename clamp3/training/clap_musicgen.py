"""Training CLAP-MusicGen: two heads learn to rank recordings and captions alike."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from clamp3.config import ClapMusicgenConfig
from clamp3.data.captions import caption_of
from clamp3.data.pairs import look_through
from clamp3.data.store import Store
from clamp3.errors import DataError
from clamp3.models.clap_musicgen import ClapModel, ClapModelConfig
from clamp3.models.clap_musicgen.checkpoints import save_clap
from clamp3.models.clap_musicgen.model import caption_tokens
from clamp3.models.clap_musicgen.pretrained import (
    load_codec,
    load_decoder,
    load_text,
    load_text_tokenizer,
)
from clamp3.models.encoders import empty_weights
from clamp3.models.tokenizer import check_tokenizer
from clamp3.models.weights import tensors_hash
from clamp3.randomness import generator, stable_hash
from clamp3.training.batches import Movable, even_batches, pad, shuffled_batches
from clamp3.training.listwise import TIE_TOLERANCE, cosines, ranking_loss
from clamp3.training.loop import History, train
from clamp3.training.optimization import freeze
from clamp3.training.resume import digest

log = logging.getLogger(__name__)
SAID = frozenset({"codec", "decoder", "chunks", "reading"})  # by a table of states, of how
TEXTS_AT_ONCE = 64  # read by the text model before training


def train_clap_musicgen(
    *,
    manifests_train: Sequence[Path],
    manifests_validation: Sequence[Path],
    states: Sequence[Path],
    text_model: str | Path,
    out: Path,
    metrics: Path,
    resume: Path,
    settings: ClapMusicgenConfig,
    seed: int,
) -> None:
    """Train the heads (and the text model unless frozen) and save the whole model to `out`.

    `states`: the tables of `pool_codes` with what MusicGen makes of the recordings, computed once
    because it is frozen. `text_model`: a RoBERTa, folder or hub name, tuned or not. Pieces without
    caption or recording are left out. See `loop.train` on `metrics` and `resume`.

    Raises DataError when fewer than two pieces are left, or when the states were made by another
    MusicGen or codec than that of `settings`; CheckpointError where a model is not there.
    """
    store, said = Store(states), _said(states)
    pieces = read_recorded(manifests_train, store, settings.captions)
    validation = read_recorded(manifests_validation, store, settings.captions)
    torch.manual_seed(stable_hash(seed, "clap_musicgen", "weights"))
    model, words = new_clap(settings, text_model, json.loads(said["chunks"])["chunk_seconds"])
    _check_states(model, said, Path(states[0]))
    if settings.freeze_text:
        freeze(model.text_model)
    task = ClapTask(model, words, settings, seed)
    task.learn_from(pieces, validation)

    def save(history: History) -> None:
        notes = history.summary() | {"seed": seed, "loss": settings.loss}
        save_clap(model, out, tokenizer=words, notes=notes)

    train(task, settings.training, metrics=metrics, resume=resume, seed=seed, save=save)


def new_clap(
    settings: ClapMusicgenConfig, text_model: str | Path, chunk_seconds: float
) -> tuple[ClapModel, PreTrainedTokenizerFast]:
    """A model with new heads, and its tokenizer; random values come from torch's generator.

    Raises CheckpointError where a part is not there, ConfigError where parts do not fit.
    """
    codec = load_codec(settings.codec or settings.musicgen)
    decoder = load_decoder(settings.musicgen, settings.reading)
    sizes, encoder = load_text(text_model, settings.text.max_tokens)
    words = load_text_tokenizer(text_model)
    check_tokenizer(words, sizes.vocab_size, str(text_model))
    config = ClapModelConfig(
        width=settings.width,
        head_width=settings.head_width,
        text=sizes,
        audio=decoder.config,
        codec=codec.config,
        reading=settings.reading,
        chunk_seconds=chunk_seconds,
    )
    with empty_weights():
        model = ClapModel(config)
    heads = ClapModel.new_heads(config)
    model.codec, model.audio_model, model.text_model = codec, decoder, encoder.requires_grad_()
    model.text_head, model.audio_head = heads["text"], heads["audio"]
    return model, words


@dataclass(frozen=True)
class Recorded:
    """Pieces with a caption and what MusicGen makes of their recordings, [chunks, D] each."""

    ids: list[str]
    captions: list[str]
    states: list[np.ndarray]

    @property
    def digest(self) -> str:
        """One SHA-256 for all that these pieces say and hold."""
        shapes = [list(own.shape) for own in self.states]
        return digest(self.ids, self.captions, shapes, *(own.tobytes() for own in self.states))


def read_recorded(manifests: Sequence[Path], store: Store, keys: Sequence[str]) -> Recorded:
    """The pieces of the manifests that have a caption and a row in the store, sorted by id.

    How many have not is logged. Raises DataError where a state is not finite.
    """
    _, told = look_through(manifests, (), lambda pair: (pair.id, caption_of(pair.texts, keys)))
    captions = dict(told)
    ids = [piece_id for piece_id, caption in told if caption and piece_id in store]
    if len(ids) < len(told):
        missing = len(told) - len(ids)
        log.warning("%d of %d pieces have no caption or recording", missing, len(told))
    states = [store.get(piece_id) for piece_id in ids]
    for piece_id, own in zip(ids, states, strict=True):
        if not len(own) or not np.isfinite(own).all():
            raise DataError(f"{piece_id}: its states are {list(own.shape)}, or not finite")
    return Recorded(ids, [captions[piece_id] for piece_id in ids], states)


def _said(states: Sequence[Path]) -> dict[str, str]:
    """What the tables of states say of themselves, which must be the same in all."""
    found = [_metadata(path) for path in states]
    for path, said in zip(states, found, strict=True):
        lacking = SAID - said.keys()
        if lacking:
            raise DataError(f"{path}: does not say its {min(lacking)}; is it a table of states?")
        if said != found[0]:
            raise DataError(f"{path} and {states[0]} were made in different ways; make them again")
    return found[0]


def _metadata(path: Path) -> dict[str, str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    return {key.decode(): value.decode() for key, value in metadata.items()}


def _check_states(model: ClapModel, said: dict[str, str], path: Path) -> None:
    """Raise DataError where the states are not of the model's codec and decoder."""
    parts = {"codec": model.codec, "decoder": model.audio_model}
    for name, part in parts.items():
        if tensors_hash(part.state_dict()) != said[name]:
            raise DataError(
                f"{path}: the states were made by another {name} than settings name; make them "
                "again, or name that model"
            )
    if json.loads(said["reading"]) != model.config.reading.model_dump():
        raise DataError(
            f"{path}: the states were made with reading {said['reading']}; settings differ"
        )


@dataclass
class ClapBatch(Movable):
    """States of recordings and of captions at first [B, D]; if texts learn, tokens [B, T] too."""

    ids: list[str]
    audio: Tensor
    text: Tensor
    tokens: Tensor | None
    mask: Tensor | None


class ClapTask:
    """Ranking recordings and captions by what the text model, as it began, says of captions.

    Trains the heads, and the text model where its parameters need gradients; the audio tower is
    not among the task's modules, its states are given.
    """

    name = "clap_musicgen"

    def __init__(
        self,
        model: ClapModel,
        tokenizer: PreTrainedTokenizerFast,
        settings: ClapMusicgenConfig,
        seed: int,
    ):
        self.clap, self.tokenizer, self.settings, self.seed = model, tokenizer, settings, seed
        names = ("text_model", "text_head", "audio_head")
        self.model = nn.ModuleDict({name: model.get_submodule(name) for name in names})
        self.learns_text = any(p.requires_grad for p in model.text_model.parameters())

    def learn_from(self, pieces: Recorded, validation: Recorded) -> None:
        """Train on `pieces`, evaluate on `validation`.

        Raises DataError when there are fewer than two pieces to tell from each other.
        """
        if len(pieces.ids) < 2:
            raise DataError(
                f"{self.name}: {len(pieces.ids)} pieces with caption and recording, expected at "
                "least two to tell from each other"
            )
        self.pieces, self.validation = pieces, validation
        self.first = self._first_states([*pieces.captions, *validation.captions])
        if self.settings.fit_heads:
            texts = np.stack([self.first[caption] for caption in pieces.captions])
            self.clap.text_head.fit(torch.from_numpy(texts))
            self.clap.audio_head.fit(torch.from_numpy(np.concatenate(pieces.states)))
        start = tensors_hash(dict(self.model.state_dict()))
        told = self.settings.model_dump(mode="json", exclude={"training", "masked_text"})
        words = self.tokenizer.backend_tokenizer.to_str()
        self.inputs = digest(start, told, words, pieces.digest, validation.digest)
        log.info(
            "%s: %d pieces, %d for validation", self.name, len(pieces.ids), len(validation.ids)
        )

    def deal(self, epoch: int) -> list[list[int]]:
        """The pieces of each batch, at random; a last batch of one is left out."""
        rng = generator(self.seed, self.name, "deal", epoch)
        return shuffled_batches(len(self.pieces.ids), self.settings.training.batch_size, rng)

    def collate(self, epoch: int, members: list[int]) -> ClapBatch:
        """One chunk of each piece, as a generator of seed, epoch and piece decides."""
        chosen = [self.pieces.states[member] for member in members]
        rngs = [generator(self.seed, self.name, epoch, self.pieces.ids[m]) for m in members]
        rows = [own[rng.integers(len(own))] for own, rng in zip(chosen, rngs, strict=True)]
        return self._batch(self.pieces, members, rows)

    def loss(self, batch: ClapBatch) -> Tensor:
        """The ranking loss of a batch."""
        return self._rank(self._hear(batch.audio), self._read(batch), batch.text)

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Mean loss, and mean reciprocal ranks both ways over all validation pieces.

        A recording stands for all its chunks: the mean of their vectors.
        """
        count = len(self.validation.ids)
        if count < 2:
            return {}
        # In order of ids, neighbours may be alike; the order drawn is the same at every call.
        drawn = generator(self.seed, "validation").permutation(count).tolist()
        audio, text, first, losses = [], [], [], []
        for places in even_batches(count, self.settings.training.batch_size):
            members = [drawn[place] for place in places]
            parts = self._encode(members, device)
            losses.append(self._rank(*parts).item() * len(members))
            for side, part in zip((audio, text, first), parts, strict=True):
                side.append(part)
        scores = torch.cat(audio) @ torch.cat(text).T
        captions = [self.validation.captions[place] for place in drawn]
        return {
            "loss": sum(losses) / count,
            "reciprocal_rank_text_to_audio": mean_reciprocal_rank(scores.T, captions),
            "reciprocal_rank_audio_to_text": mean_reciprocal_rank(scores, captions),
        }

    def _rank(self, audio: Tensor, text: Tensor, first: Tensor) -> Tensor:
        how = self.settings
        return ranking_loss(
            audio,
            text,
            cosines(first),
            loss=how.loss,
            scale=how.logit_scale,
            standardise=how.standardise,
        )

    def _hear(self, states: Tensor) -> Tensor:
        return self.model["audio_head"](states)

    def _read(self, batch: ClapBatch) -> Tensor:
        states = batch.text
        if batch.tokens is not None:
            states = self.clap.text_states(batch.tokens, batch.mask)
        return self.model["text_head"](states)

    def _encode(self, members: list[int], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        chunks = [self.validation.states[member] for member in members]
        rows = torch.from_numpy(np.concatenate(chunks)).to(device)
        parts = self._hear(rows).float().split([len(own) for own in chunks])
        audio = nn.functional.normalize(torch.stack([own.mean(dim=0) for own in parts]), dim=-1)
        batch = self._batch(self.validation, members, [own[0] for own in chunks]).to(device)
        return audio, self._read(batch).float(), batch.text

    def _batch(
        self, pieces: Recorded, members: Sequence[int], rows: Sequence[np.ndarray]
    ) -> ClapBatch:
        captions = [pieces.captions[member] for member in members]
        first = torch.from_numpy(np.stack([self.first[caption] for caption in captions]))
        tokens = mask = None
        if self.learns_text:
            tokens, mask = self._tokens(captions)
        ids = [pieces.ids[member] for member in members]
        return ClapBatch(ids, torch.from_numpy(np.stack(rows)), first, tokens, mask)

    def _tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        limit = self.settings.text.max_tokens
        found = caption_tokens(self.tokenizer, captions, limit)
        return pad(found, self.tokenizer.pad_token_id)

    @torch.no_grad()
    def _first_states(self, captions: Sequence[str]) -> dict[str, np.ndarray]:
        """What the text model, as it is before training, makes of each different caption."""
        different = sorted(set(captions), key=lambda caption: (len(caption), caption))
        self.clap.text_model.eval()
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(different), TEXTS_AT_ONCE):
            some = different[start : start + TEXTS_AT_ONCE]
            states = self.clap.text_states(*self._tokens(some)).float().numpy()
            found |= dict(zip(some, states, strict=True))
        return found


def mean_reciprocal_rank(scores: Tensor, captions: Sequence[str]) -> float:
    """The mean of 1 / rank of each row's own column in scores [Q, Q] of pieces; a tie is a loss.

    Pieces of one caption do not compete with each other.
    """
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    keys = torch.tensor([numbers[caption] for caption in captions], device=scores.device)
    rivals = (keys[:, None] != keys) & (scores >= scores.diagonal()[:, None] - TIE_TOLERANCE)
    return (1 / (1 + rivals.sum(dim=1))).mean().item()
