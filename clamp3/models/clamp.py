"""CLaMP 3 and CLaMP 2: towers for text, symbolic music and recordings that share one space."""

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import nn
from transformers import PreTrainedTokenizerFast

from clamp3.config import Layers, Length, M3Architecture, Section, SharedSpaceConfig
from clamp3.errors import ConfigError
from clamp3.models.encoders import bert_encoder
from clamp3.models.m3 import M3Model, PatchEncoder
from clamp3.models.pooling import masked_mean
from clamp3.models.text import (
    TextTowerConfig,
    new_text_config,
    read_pretrained,
    text_encoder,
)

TOWERS = ("text", "symbolic", "audio")
# What the towers' parameters are called in the published checkpoints.
PREFIXES = {
    "clamp3": {"text": "text", "symbolic": "symbolic", "audio": "audio"},
    "clamp2": {"text": "text", "symbolic": "music"},
}


class AudioTowerConfig(Section):
    """Sizes of the tower that reads the features of recordings."""

    hidden_size: PositiveInt
    layers: Layers
    max_frames: Length
    feature_size: PositiveInt  # of one frame; the published models: hidden_size


class ClampModelConfig(Section):
    """Everything needed to build the model that a checkpoint's weights belong to."""

    kind: Literal["clamp3", "clamp2"]
    width: PositiveInt  # of the shared space
    similarity: Literal["dot", "cosine"]  # what it was trained with
    text: TextTowerConfig | None  # null: the model has no such tower
    symbolic: M3Architecture | None
    audio: AudioTowerConfig | None

    @model_validator(mode="after")
    def _has_towers(self) -> "ClampModelConfig":
        if self.kind == "clamp2" and self.audio is not None:
            raise ValueError("clamp2 has no audio tower")
        if not self.towers:
            raise ValueError("at least one of text, symbolic, audio is needed")
        return self

    @property
    def towers(self) -> tuple[str, ...]:
        """The names of the model's towers, in the order of TOWERS."""
        return tuple(name for name in TOWERS if getattr(self, name) is not None)


class ClampModel(nn.Module):
    """The towers of CLaMP 3 or CLaMP 2: each an encoder, a masked mean and a projection.

    `towers` names the ones to build; those that `config` has not are left out. Parameters are
    called as in the published checkpoints (`text_model…`, `text_proj…`; the symbolic tower of CLaMP
    2 is `music_model`, `music_proj`). New weights come from torch's global generator.

    Differs: where `feature_size` is not the audio tower's `hidden_size`, a linear layer
    (`audio_embedding`) stands before it, because small front-ends have narrow frames.

    Source: sanderwood/clamp3@9016d2b code/utils.py, sanderwood/clamp2@a3ebc75 code/utils.py
    """

    def __init__(self, config: ClampModelConfig, towers: Iterable[str] = TOWERS):
        super().__init__()
        wanted = set(towers)
        if not wanted <= set(TOWERS):
            raise ValueError(f"towers {sorted(wanted)}: expected some of {', '.join(TOWERS)}")
        self.config = config
        self.towers = tuple(name for name in config.towers if name in wanted)
        for name in self.towers:
            getattr(self, f"_add_{name}")()

    def _add_text(self) -> None:
        self._add("text", text_encoder(self.config.text), self.config.text.hidden_size)

    def _add_symbolic(self) -> None:
        sizes = self.config.symbolic
        self._add("symbolic", PatchEncoder(sizes), sizes.hidden_size)

    def _add_audio(self) -> None:
        sizes = self.config.audio
        encoder = bert_encoder(sizes.hidden_size, sizes.layers, sizes.max_frames)
        self._add("audio", encoder, sizes.hidden_size)
        if sizes.feature_size != sizes.hidden_size:
            self.audio_embedding = nn.Linear(sizes.feature_size, sizes.hidden_size)

    def _add(self, tower: str, encoder: nn.Module, hidden_size: int) -> None:
        projection = nn.Linear(hidden_size, self.config.width)
        nn.init.normal_(projection.weight, std=0.02)
        prefix = self.prefix(tower)
        self.add_module(f"{prefix}_model", encoder)
        self.add_module(f"{prefix}_proj", projection)

    def prefix(self, tower: str) -> str:
        """What the names of the tower's parameters begin with, such as `symbolic`."""
        if tower not in self.towers:
            raise ValueError(f"no {tower} tower here: this model has {', '.join(self.towers)}")
        return PREFIXES[self.config.kind][tower]

    def encoder(self, tower: str) -> nn.Module:
        """The transformer of a tower: XLM-R, PatchEncoder or BERT."""
        return self.get_submodule(f"{self.prefix(tower)}_model")

    def projection(self, tower: str) -> nn.Linear:
        """The linear layer from a tower's width to the shared one."""
        return self.get_submodule(f"{self.prefix(tower)}_proj")

    def text_hidden(self, token_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden states [B, T, D] of tokens [B, T]; `mask` [B, T] is 0 at padding (id 1)."""
        return self.encoder("text")(input_ids=token_ids, attention_mask=mask).last_hidden_state

    def symbolic_hidden(self, patches: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden states [B, P, D] of patches [B, P, C]; `mask` [B, P] is 0 at padding."""
        return self.encoder("symbolic")(patches, mask)

    def audio_hidden(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The hidden states [B, F, D] of features [B, F, E]; `mask` [B, F] is 0 at padding."""
        encoder = self.encoder("audio")
        if self.config.audio.feature_size != self.config.audio.hidden_size:
            features = self.audio_embedding(features)
        return encoder(inputs_embeds=features, attention_mask=mask).last_hidden_state

    def encode_text(self, token_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings [B, D] of tokens [B, T]; not normalised."""
        return self.project("text", self.text_hidden(token_ids, mask), mask)

    def encode_symbolic(self, patches: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings [B, D] of patches [B, P, C]; not normalised."""
        return self.project("symbolic", self.symbolic_hidden(patches, mask), mask)

    def encode_audio(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings [B, D] of features [B, F, E]; not normalised."""
        return self.project("audio", self.audio_hidden(features, mask), mask)

    def project(self, tower: str, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The embeddings [B, D] of a tower's hidden states: masked mean, then projection."""
        return self.projection(tower)(masked_mean(hidden, mask))


def as_kind(model: ClampModel, kind: Literal["clamp3", "clamp2"]) -> ClampModel:
    """The same weights under the names of that kind; as it is, where it is of that kind.

    A CLaMP 2 has no audio tower: that of a CLaMP 3 is left out.
    """
    if model.config.kind == kind:
        return model
    without = {"audio": None} if kind == "clamp2" else {}
    renamed = ClampModel(model.config.model_copy(update={"kind": kind} | without), model.towers)
    for tower in renamed.towers:
        renamed.encoder(tower).load_state_dict(model.encoder(tower).state_dict())
        renamed.projection(tower).load_state_dict(model.projection(tower).state_dict())
    return renamed


def build_clamp(
    config: SharedSpaceConfig,
    tokenizer: PreTrainedTokenizerFast,
    m3: M3Model | None = None,
    *,
    architecture: M3Architecture | None = None,
) -> ClampModel:
    """A CLaMP 3 to train: its symbolic tower from `m3`, its text tower from a checkpoint or new.

    There is no audio tower. Without `m3` the symbolic tower is new and has the sizes of
    `architecture`. All that is random comes from torch's global generator, in the order text,
    symbolic: seed it first.

    Raises ConfigError where the sizes of the symbolic tower are not known or the tokenizer knows
    tokens that the text model does not, CheckpointError where `config.text.pretrained` is no XLM-R.
    """
    sizes = m3.architecture if m3 else architecture
    if sizes is None:
        raise ConfigError("the symbolic tower has no sizes: give an M3 model or its architecture")
    text, weights = _text_tower(config, tokenizer)
    model = ClampModel(
        ClampModelConfig(
            kind="clamp3",
            width=config.width,
            similarity=config.similarity,
            text=text,
            symbolic=sizes,
            audio=None,
        )
    )
    if weights is not None:
        model.text_model.load_state_dict(weights)
    if m3 is not None:
        model.symbolic_model.load_state_dict(m3.encoder.state_dict())
    return model


def _text_tower(
    config: SharedSpaceConfig, tokenizer: PreTrainedTokenizerFast
) -> tuple[TextTowerConfig, dict | None]:
    if config.text.pretrained is None:
        return new_text_config(config.text, len(tokenizer)), None
    sizes, encoder = read_pretrained(config.text.pretrained, config.text.max_tokens)
    if len(tokenizer) > sizes.vocab_size:
        raise ConfigError(
            f"{config.text.pretrained} knows {sizes.vocab_size} tokens, the tokenizer "
            f"{len(tokenizer)}: expected the tokenizer of that model"
        )
    return sizes, encoder.state_dict()
