"""The model of CLAP-MusicGen: two towers, two heads, unit vectors of one space."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from clamp3.config import MusicgenReading, Section
from clamp3.models.clap_musicgen.codec import Codec, CodecConfig
from clamp3.models.clap_musicgen.decoder import PUBLISHED_READING, DecoderConfig, DecoderTower
from clamp3.models.pooling import masked_mean
from clamp3.models.text import TextTowerConfig, text_encoder
from clamp3.models.tokenizer import without_surrogates

TOWERS = ("text", "audio")
# The modules of each tower, which are files of their own in a checkpoint.
PARTS = {"text": ("text_model", "text_head"), "audio": ("codec", "audio_model", "audio_head")}
SMALLEST_LENGTH = 1e-6  # added to a vector's length before it is divided by it


class ClapModelConfig(Section):
    """Everything needed to build the model that a checkpoint's weights belong to."""

    width: PositiveInt = 1024  # of the shared space
    head_width: PositiveInt = 512
    text: TextTowerConfig | None  # a RoBERTa, which is built like XLM-R; null: no such tower
    audio: DecoderConfig | None
    codec: CodecConfig | None
    reading: MusicgenReading = PUBLISHED_READING
    chunk_seconds: PositiveFloat = 15.0  # of sound that is read at once

    @model_validator(mode="after")
    def _fits(self) -> "ClapModelConfig":
        if (self.audio is None) != (self.codec is None):
            raise ValueError("audio and codec: expected both or neither")
        if not self.towers:
            raise ValueError("at least one of text, audio is needed")
        if self.audio and self.codec.codebooks < self.audio.num_codebooks:
            raise ValueError(
                f"the codec makes {self.codec.codebooks} codes a frame, the decoder reads "
                f"{self.audio.num_codebooks}"
            )
        if self.audio and self.codec.codebook_size != self.audio.vocab_size:
            raise ValueError(
                f"the codec has {self.codec.codebook_size} codes, the decoder "
                f"{self.audio.vocab_size}: expected those of one MusicGen"
            )
        return self

    @property
    def towers(self) -> tuple[str, ...]:
        """The names of the model's towers."""
        return tuple(name for name in TOWERS if getattr(self, name) is not None)


class Head(nn.Sequential):
    """From a tower's vectors to unit vectors of the shared space.

    Source: yuhuacheng/clap_musicgen@af54eac src/modules/mlp_projection.py
    """

    def __init__(self, width_in: int, hidden: int, width_out: int):
        super().__init__(
            nn.Linear(width_in, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, width_out),
        )

    @torch.no_grad()
    def fit(self, vectors: Tensor) -> None:
        """Begin as if the vectors [N, width_in], to be read later, had mean 0 and deviation 1.

        Only the first layer's weights change. What is the same in all vectors stays the same.

        Differs: the original begins anyhow, and the large common part of a transformer's states
        then hides what tells pieces apart.
        """
        first = self[0]
        deviation = vectors.std(dim=0, correction=0)
        constant = deviation <= SMALLEST_LENGTH * vectors.abs().amax(dim=0).clamp(min=1)
        first.weight /= torch.where(constant, 1, deviation)
        first.bias -= first.weight @ vectors.mean(dim=0)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, width_in] to [B, width_out]."""
        found = super().forward(vectors)
        return found / (found.norm(dim=-1, keepdim=True) + SMALLEST_LENGTH)


class ClapModel(nn.Module):
    """CLAP-MusicGen with those of its towers that both `config` has and `towers` names.

    Source: yuhuacheng/clap_musicgen@af54eac src/modules/clap_model.py
    Differs: the two learned logit scales are left out, because scores are standardised after them.
    """

    def __init__(self, config: ClapModelConfig, towers: Iterable[str] = TOWERS):
        super().__init__()
        wanted = set(towers)
        if not wanted <= set(TOWERS):
            raise ValueError(f"towers {sorted(wanted)}: expected some of {', '.join(TOWERS)}")
        self.config = config
        self.towers = tuple(name for name in config.towers if name in wanted)
        if "text" in self.towers:
            self.text_model = text_encoder(config.text)
            self.text_model.pooler = None  # never used
            self.text_head = Head(config.text.hidden_size, config.head_width, config.width)
        if "audio" in self.towers:
            self.codec = Codec(config.codec)
            self.audio_model = DecoderTower(config.audio, config.reading)
            self.audio_head = Head(config.audio.hidden_size, config.head_width, config.width)

    @staticmethod
    def new_heads(config: ClapModelConfig) -> dict[str, Head]:
        """New heads by tower; random values come from torch's global generator."""
        return {
            tower: Head(getattr(config, tower).hidden_size, config.head_width, config.width)
            for tower in config.towers
        }

    def text_states(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """What the text model makes of tokens [B, T], the mean over them: [B, D].

        `mask` [B, T] is 0 at padding (id 1).
        """
        hidden = self.text_model(input_ids=token_ids, attention_mask=mask).last_hidden_state
        return masked_mean(hidden, mask)

    @torch.no_grad()
    def audio_states(self, codes: Tensor, mask: Tensor) -> Tensor:
        """What MusicGen makes of codes [B, K, F]: [B, D]; `mask` [B, F] is 0 at padding."""
        return self.audio_model(codes[:, : self.config.audio.num_codebooks], mask)

    def encode_text(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """The unit vectors [B, D] of tokens [B, T]."""
        return self.text_head(self.text_states(token_ids, mask))

    def encode_codes(self, codes: Tensor, mask: Tensor) -> Tensor:
        """The unit vectors [B, D] of codes [B, K, F]."""
        return self.audio_head(self.audio_states(codes, mask))

    def encode_audio(self, waveforms: Tensor) -> Tensor:
        """The unit vectors [B, D] of equally long waveforms [B, S] at the codec's rate."""
        codes = self.codec(waveforms)
        return self.encode_codes(codes, codes.new_ones(codes.shape[0], codes.shape[2]))


def caption_tokens(
    tokenizer: PreTrainedTokenizerFast, captions: Sequence[str], max_tokens: int
) -> list[np.ndarray]:
    """The token ids int64 [T] of each caption, `<s> … </s>`, at most `max_tokens` with both."""
    if not captions:
        return []
    texts = [without_surrogates(caption) for caption in captions]
    found = tokenizer(texts, padding=False, truncation=False)["input_ids"]
    cut = [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]] for ids in found]
    return [np.asarray(ids, dtype=np.int64) for ids in cut]
