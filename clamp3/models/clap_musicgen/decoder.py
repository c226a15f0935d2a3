"""MusicGen's decoder as a frozen reader of codes: what it knows after the last frame."""

from typing import Literal

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn
from transformers import MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import (
    MusicgenDecoder,
    MusicgenSinusoidalPositionalEmbedding,
)

from clamp3.config import Layers, Length, MusicgenReading, Section
from clamp3.models.pooling import masked_mean

# Of a layer: nothing conditions the decoder here, and they are a third of its weights.
UNUSED = ("encoder_attn", "encoder_attn_layer_norm")


class DecoderConfig(Section):
    """Sizes of a MusicGen decoder under their names in transformers; default: musicgen-small."""

    vocab_size: PositiveInt = 2048  # codes; the id after the last one is padding
    hidden_size: PositiveInt = 1024
    num_hidden_layers: Layers = 24
    num_attention_heads: PositiveInt = 16
    ffn_dim: PositiveInt = 4096
    num_codebooks: PositiveInt = 4
    max_position_embeddings: Length = 2048
    activation_function: str = "gelu"
    scale_embedding: bool = False
    audio_channels: Literal[1] = 1

    @model_validator(mode="after")
    def _fits(self) -> "DecoderConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size}: {self.num_attention_heads} attention heads "
                "cannot share it evenly"
            )
        return self

    def transformer(self) -> MusicgenDecoderConfig:
        """The configuration for transformers."""
        ids = {"pad_token_id": self.vocab_size, "bos_token_id": self.vocab_size}
        return MusicgenDecoderConfig(**self.model_dump(), **ids, use_cache=False)


# Source: yuhuacheng/clap_musicgen@af54eac src/modules/clap_audio_encoder.py
PUBLISHED_READING = MusicgenReading(
    positions="constant", codebooks="aligned", pooling="last", layer=None
)


class DecoderTower(nn.Module):
    """MusicGen's decoder without conditioning; parameters are called as in MusicgenDecoder.

    Layers above `reading.layer` are not built. New weights come from torch's global generator.

    Source: yuhuacheng/clap_musicgen@af54eac src/modules/clap_audio_encoder.py
    Differs: every `reading` but PUBLISHED_READING; rows of different length may share a batch.
    """

    def __init__(self, config: DecoderConfig, reading: MusicgenReading):
        super().__init__()
        whole = MusicgenDecoder(config.transformer())
        if reading.layer is not None and reading.layer < config.num_hidden_layers:
            whole.layers = whole.layers[: reading.layer]
            whole.layer_norm = nn.Identity()
        for layer in whole.layers:
            for name in UNUSED:
                delattr(layer, name)
        if reading.positions == "constant":
            whole.embed_positions = _FirstPosition(
                config.max_position_embeddings, config.hidden_size
            )
        self.config, self.reading, self.decoder = config, reading, whole

    def forward(self, codes: Tensor, mask: Tensor) -> Tensor:
        """The vectors [B, D] of codes [B, K, F]; `mask` [B, F] is 0 at padding, which comes last.

        No row may be all padding.
        """
        ids, mask = self._arranged(codes.long(), mask)
        # Padding comes last and no state looks ahead, so attention needs no mask.
        hidden = self.decoder(input_ids=ids.flatten(0, 1), use_cache=False).last_hidden_state
        if self.reading.pooling == "mean":
            return masked_mean(hidden, mask)
        last = mask.sum(dim=1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]

    def _arranged(self, codes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The ids [B, K, T] that the decoder reads, and their mask [B, T]."""
        padding = self.config.vocab_size
        codes = torch.where(mask[:, None].bool(), codes, padding)
        if self.reading.codebooks == "aligned":
            return codes, mask
        batch, books, frames = codes.shape
        ids = codes.new_full((batch, books, frames + books), padding)
        for book in range(books):
            ids[:, book, book + 1 : book + 1 + frames] = codes[:, book]
        return ids, torch.cat([mask.new_ones(batch, books), mask], dim=1)


class _FirstPosition(MusicgenSinusoidalPositionalEmbedding):
    """The first position's vector [1, D] for every frame."""

    def forward(self, input_ids: Tensor, past_key_values_length: int = 0) -> Tensor:
        return super().forward(input_ids[..., :1])
