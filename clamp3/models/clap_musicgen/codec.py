"""EnCodec's encoder: 32 kHz sound to four codes fifty times a second."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecModel

from clamp3.config import Section
from clamp3.errors import ConfigError, FormatError
from clamp3.formats.audio.decoding import LOUDEST

BATCH_SECONDS = 15  # of sound computed at once, about: 1 GB in the published sizes
GPU_BATCH_SECONDS = 240
UNUSED = ("inited", "cluster_size", "embed_avg")  # of a codebook; only EnCodec's training has use


class CodecConfig(Section):
    """Sizes of an EnCodec under their names in transformers.

    The defaults are those of facebook/encodec_32khz, which every mono MusicGen has.
    """

    sampling_rate: PositiveInt = 32_000
    audio_channels: Literal[1] = 1
    normalize: Literal[False] = False  # by loudness: only the 48 kHz model does
    chunk_length_s: None = None  # likewise
    target_bandwidths: tuple[PositiveFloat, ...] = (2.2,)
    num_filters: PositiveInt = 64
    num_residual_layers: PositiveInt = 1
    upsampling_ratios: tuple[PositiveInt, ...] = (8, 5, 4, 4)
    norm_type: Literal["weight_norm", "time_group_norm"] = "weight_norm"
    kernel_size: PositiveInt = 7
    last_kernel_size: PositiveInt = 7
    residual_kernel_size: PositiveInt = 3
    dilation_growth_rate: PositiveInt = 2
    use_causal_conv: bool = False
    pad_mode: str = "reflect"
    compress: PositiveInt = 2
    num_lstm_layers: PositiveInt = 2
    use_conv_shortcut: bool = False
    hidden_size: PositiveInt = 128
    codebook_size: PositiveInt = 2048
    codebook_dim: PositiveInt = 128

    @model_validator(mode="after")
    def _codes_fit(self) -> "CodecConfig":
        if self.codebook_size & (self.codebook_size - 1) or self.codebook_size > 2**15:
            raise ValueError(f"codebook_size {self.codebook_size}: expected a power of 2 to 32768")
        return self

    @property
    def codebooks(self) -> int:
        """The number of codes in a frame."""
        return self.transformer().num_quantizers

    @property
    def frame_samples(self) -> int:
        """The samples that one frame stands for."""
        return self.transformer().hop_length

    def frames(self, samples: int) -> int:
        """The number of frames that become of so many samples."""
        return -(-samples // self.frame_samples)

    def transformer(self) -> EncodecConfig:
        """The configuration for transformers."""
        return EncodecConfig(**self.model_dump())


class Codec(nn.Module):
    """EnCodec without its decoder; parameters are called as in transformers' EncodecModel.

    New weights come from torch's global generator; new codebooks are all zeros, see
    `draw_codebooks`.
    """

    def __init__(self, config: CodecConfig):
        super().__init__()
        whole = EncodecModel(config.transformer())
        self.config = config
        self.encoder, self.quantizer = whole.encoder, whole.quantizer
        for layer in self.quantizer.layers:
            for name in UNUSED:
                delattr(layer.codebook, name)

    @torch.no_grad()
    def forward(self, waveforms: Tensor) -> Tensor:
        """The codes int64 [B, K, F] of equally long waveforms [B, S]."""
        found = self.quantizer.encode(self.encoder(waveforms[:, None]))
        return found.transpose(0, 1)

    def codes_of(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The codes int16 [K, F] of each mono waveform [S] at the codec's rate, full scale ±1.

        Only waveforms of one length are computed together: EnCodec reflects the end of its input,
        so padding would change the last frames.

        Raises FormatError: bad_waveform, no_samples, not_finite, too_short.
        """
        for waveform in waveforms:
            check_waveform(waveform, self.config.frame_samples)
        by_length = defaultdict(list)
        for place, waveform in enumerate(waveforms):
            by_length[len(waveform)].append(place)
        found: list[np.ndarray] = [np.empty(0)] * len(waveforms)
        on_cpu = next(self.parameters()).device.type == "cpu"
        seconds = BATCH_SECONDS if on_cpu else GPU_BATCH_SECONDS
        for length, places in by_length.items():
            size = max(1, seconds * self.config.sampling_rate // length)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                codes = self._batch([waveforms[place] for place in batch])
                for place, own in zip(batch, codes, strict=True):
                    found[place] = own
        return found

    def _batch(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        like = next(self.parameters())
        values = torch.from_numpy(np.stack(waveforms)).to(like.device, like.dtype)
        return self(values).cpu().numpy().astype(np.int16)


def check_waveform(waveform: np.ndarray, least: int) -> None:
    """Raise FormatError unless `waveform` is mono, finite and at least `least` samples long."""
    if waveform.ndim != 1 or waveform.dtype.kind != "f":
        raise FormatError(
            "bad_waveform",
            f"a waveform of {waveform.dtype} and shape {list(waveform.shape)}, expected floats "
            "[samples]: the mean of the channels",
        )
    if not len(waveform):
        raise FormatError("no_samples", "the waveform holds no samples")
    if not (np.abs(waveform) < LOUDEST).all():
        raise FormatError("not_finite", "the waveform holds NaN, infinity or huge values")
    if len(waveform) < least:
        raise FormatError("too_short", f"{len(waveform)} samples, expected at least {least}")


@torch.no_grad()
def draw_codebooks(codec: Codec, generator: np.random.Generator) -> None:
    """Fill the codebooks of a new codec with what its encoder makes of chords and noise.

    Each codebook gets residuals of the one before, so that codes differ where sounds do.

    Raises ConfigError where the sizes leave too few frames to draw from.
    """
    rate = codec.config.sampling_rate
    time = np.arange(2 * rate) / rate
    sounds = []
    for _ in range(24):
        pitches = 55 * 2 ** generator.uniform(0, 6, size=4)
        loudness = generator.uniform(0.01, 0.3)
        waves = np.sin(2 * np.pi * pitches[:, None] * time).sum(axis=0)
        sounds.append(
            loudness * (waves + generator.uniform(0, 0.3) * generator.normal(size=len(time)))
        )
    states = codec.encoder(torch.from_numpy(np.stack(sounds).astype(np.float32))[:, None])
    rest = states.transpose(1, 2).reshape(-1, codec.config.codebook_dim)
    size = codec.config.codebook_size
    if len(rest) < size:
        raise ConfigError(f"codebook_size {size}: {len(rest)} frames to draw it from, too few")
    for layer in codec.quantizer.layers:
        chosen = torch.from_numpy(generator.permutation(len(rest))[:size])
        layer.codebook.embed = rest[chosen].clone()
        rest = rest - layer.codebook.decode(layer.codebook.encode(rest))
