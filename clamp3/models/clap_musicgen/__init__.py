"""CLAP-MusicGen: recordings through EnCodec and MusicGen, texts through RoBERTa, one space."""

from clamp3.models.clap_musicgen.codec import Codec, CodecConfig
from clamp3.models.clap_musicgen.decoder import PUBLISHED_READING, DecoderConfig, DecoderTower
from clamp3.models.clap_musicgen.model import ClapModel, ClapModelConfig

__all__ = [
    "PUBLISHED_READING",
    "ClapModel",
    "ClapModelConfig",
    "Codec",
    "CodecConfig",
    "DecoderConfig",
    "DecoderTower",
]
