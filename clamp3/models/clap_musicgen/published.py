"""The original's own checkpoint layout: both towers and heads in one file, sizes untold."""

import re
from pathlib import Path

from clamp3.errors import CheckpointError
from clamp3.models.clap_musicgen.codec import CodecConfig
from clamp3.models.clap_musicgen.decoder import DecoderConfig
from clamp3.models.clap_musicgen.model import ClapModel, ClapModelConfig
from clamp3.models.clap_musicgen.pretrained import (
    CODEC_PREFIXES,
    DECODER_PREFIXES,
    TEXT_PREFIXES,
)
from clamp3.models.encoders import HEAD_SIZE, empty_weights
from clamp3.models.text import PAD_ID, TextTowerConfig
from clamp3.models.weight_files import WeightFiles, model_folder

CODEC, DECODER, TEXT = CODEC_PREFIXES[-1], DECODER_PREFIXES[-1], TEXT_PREFIXES[-1]
PREFIXES = {
    "codec": CODEC,
    "audio_model.decoder": DECODER,
    "audio_head": "audio_encoder.projection.projection.",
    "text_model": TEXT,
    "text_head": "text_encoder.projection.projection.",
}
SIGN = f"{PREFIXES['audio_head']}0.weight"  # a tensor that no other model's file holds


def is_published(folder: Path) -> bool:
    """Whether the weights in a folder are those of the original's CLAPModel.

    Raises CheckpointError where there are none, or they are damaged.
    """
    return SIGN in WeightFiles(folder).names


def read_published_clap(source: str | Path) -> ClapModel:
    """The model of a folder or hub name that the original's `save_pretrained` wrote; eval mode.

    All sizes follow from the tensors, but for the attention heads, one per 64 of width as in every
    RoBERTa and MusicGen. Texts may have as many tokens as there are positions.

    Raises CheckpointError where there is no such model, or a tensor is missing or damaged.
    Source: yuhuacheng/clap_musicgen@af54eac src/modules/clap_model.py
    """
    folder = model_folder(source)
    files = WeightFiles(folder)
    if SIGN not in files.names:
        raise CheckpointError(f"{folder}: no tensor {SIGN}; expected the original's CLAPModel")
    with empty_weights():
        model = ClapModel(_config(files, folder))
    for part, prefix in PREFIXES.items():
        module = model.get_submodule(part)
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        module.load_state_dict(files.part(shapes, (prefix,), part), strict=True, assign=True)
    return model.eval()


def _config(files: WeightFiles, folder: Path) -> ClapModelConfig:
    try:
        width, head_width = files.shape(f"{PREFIXES['audio_head']}6.weight")
        return ClapModelConfig(
            width=width,
            head_width=head_width,
            text=_text(files),
            audio=_decoder(files),
            codec=_codec(files),
        )
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{folder}: its sizes cannot be told: {error}") from error


def _count(files: WeightFiles, pattern: str) -> int:
    """How many numbers stand at the group of the pattern, from 0 on."""
    numbers = {int(match[1]) for name in files.names if (match := re.match(pattern, name))}
    return max(numbers, default=-1) + 1


def _text(files: WeightFiles) -> TextTowerConfig:
    vocabulary, width = files.shape(f"{TEXT}embeddings.word_embeddings.weight")
    positions = files.shape(f"{TEXT}embeddings.position_embeddings.weight")[0]
    return TextTowerConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=_count(files, re.escape(TEXT) + r"encoder\.layer\.(\d+)\."),
        num_attention_heads=max(1, width // HEAD_SIZE),
        intermediate_size=files.shape(f"{TEXT}encoder.layer.0.intermediate.dense.weight")[0],
        max_position_embeddings=positions,
        type_vocab_size=files.shape(f"{TEXT}embeddings.token_type_embeddings.weight")[0],
        max_tokens=positions - PAD_ID - 1,
    )


def _decoder(files: WeightFiles) -> DecoderConfig:
    rows, width = files.shape(f"{DECODER}embed_tokens.0.weight")
    return DecoderConfig(
        vocab_size=rows - 1,
        hidden_size=width,
        num_hidden_layers=_count(files, re.escape(DECODER) + r"layers\.(\d+)\."),
        num_attention_heads=max(1, width // HEAD_SIZE),
        ffn_dim=files.shape(f"{DECODER}layers.0.fc1.weight")[0],
        num_codebooks=_count(files, re.escape(DECODER) + r"embed_tokens\.(\d+)\."),
    )


def _codec(files: WeightFiles) -> CodecConfig:
    """Kernels of the convolutions between blocks are twice what they shorten by."""
    found = {}
    for name in files.names:
        match = re.fullmatch(
            re.escape(CODEC) + r"encoder\.layers\.(\d+)\.conv\.(weight_v|param.*original1)", name
        )
        if match:
            found[int(match[1])] = files.shape(name)
    convolutions = [found[number] for number in sorted(found)]
    size, width = files.shape(f"{CODEC}quantizer.layers.0.codebook.embed")
    ratios = tuple(shape[2] // 2 for shape in reversed(convolutions[1:-1]))
    books = _count(files, re.escape(CODEC) + r"quantizer\.layers\.(\d+)\.")
    sizes = {
        "num_filters": convolutions[0][0],
        "kernel_size": convolutions[0][2],
        "upsampling_ratios": ratios,
        "last_kernel_size": convolutions[-1][2],
        "hidden_size": convolutions[-1][0],
        "codebook_size": size,
        "codebook_dim": width,
        "num_lstm_layers": _count(files, re.escape(CODEC) + r"encoder\..*\.weight_ih_l(\d+)"),
        "use_conv_shortcut": any(".shortcut." in name for name in files.names),
    }
    one = CodecConfig(**sizes).transformer()
    bits = one.frame_rate * one.codebook_nbits
    return CodecConfig(**sizes, target_bandwidths=((books + 0.5) * bits / 1000,))
