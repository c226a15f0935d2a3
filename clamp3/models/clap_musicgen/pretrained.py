"""The parts of CLAP-MusicGen from published models: EnCodec and MusicGen, RoBERTa."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import (
    EncodecConfig,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from clamp3.config import MusicgenArchitecture, MusicgenReading, Section, check
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path, write_json
from clamp3.models.clap_musicgen.codec import Codec, CodecConfig, draw_codebooks
from clamp3.models.clap_musicgen.decoder import PUBLISHED_READING, DecoderConfig, DecoderTower
from clamp3.models.encoders import empty_weights
from clamp3.models.hub import fetch, is_hub_name
from clamp3.models.text import TextTowerConfig, text_encoder
from clamp3.models.tokenizer import load_tokenizer
from clamp3.models.weight_files import (
    TOKENIZER_FILES,
    WeightFiles,
    model_folder,
    read_settings,
)
from clamp3.models.weights import write_tensors

# What the names of a part's tensors begin with: in a whole MusicGen, its language model, the bare
# part, and in the published CLAP-MusicGen.
CODEC_PREFIXES = ("audio_encoder.", "", "audio_encoder.encodec.")
DECODER_PREFIXES = ("decoder.model.decoder.", "model.decoder.", "decoder.", "")
DECODER_PREFIXES += ("audio_encoder.transformer.",)
TEXT_PREFIXES = ("roberta.", "", "text_encoder.text_encoder.")
DEFAULTS = {CodecConfig: EncodecConfig, TextTowerConfig: XLMRobertaConfig}
TEXT_KINDS = ("roberta", "xlm-roberta")


def _part_sizes(sizes: type[Section], folder: Path, part: str, kind: str) -> Section:
    """The sizes of a part, which lies alone in the folder or under its name in a MusicGen.

    Raises CheckpointError where there is none, or one of another build: for stereo, say.
    """
    settings = read_settings(folder)
    if settings.get("model_type") == "musicgen":
        settings = settings.get(part) or {}
    _check_kind(folder, settings, (kind,))
    return _sizes(sizes, settings, folder)


def load_codec(source: str | Path) -> Codec:
    """The EnCodec of a folder or hub name, frozen, float32; only its encoder is read.

    Raises CheckpointError where there is none for mono sound of its own loudness, or where a
    tensor is missing or damaged.
    """
    folder = model_folder(source)
    config = _part_sizes(CodecConfig, folder, "audio_encoder", "encodec")
    with empty_weights():
        codec = Codec(config)
    return _filled(codec, WeightFiles(folder), CODEC_PREFIXES, "an EnCodec")


def load_decoder(source: str | Path, reading: MusicgenReading) -> DecoderTower:
    """The decoder of a MusicGen, a folder or hub name, frozen, float32; no more of it is read.

    Raises CheckpointError where there is none, or one for stereo, or where a tensor is missing or
    damaged.
    """
    folder = model_folder(source)
    config = _part_sizes(DecoderConfig, folder, "decoder", "musicgen_decoder")
    with empty_weights():
        tower = DecoderTower(config, reading)
    _filled(tower.decoder, WeightFiles(folder), DECODER_PREFIXES, "a MusicGen decoder")
    return tower.eval()


def load_text(source: str | Path, max_tokens: int) -> tuple[TextTowerConfig, XLMRobertaModel]:
    """The sizes and the encoder of a RoBERTa or XLM-R, a folder or hub name; float32.

    RoBERTa is built as XLM-R is. Raises CheckpointError where there is no such model, ConfigError
    where it has no positions for `max_tokens`.
    """
    folder = model_folder(source)
    settings = read_settings(folder)
    _check_kind(folder, settings, TEXT_KINDS)
    sizes = _sizes(TextTowerConfig, settings | {"max_tokens": max_tokens}, folder)
    with empty_weights():
        encoder = text_encoder(sizes)
        encoder.pooler = None  # never used
    return sizes, _filled(encoder, WeightFiles(folder), TEXT_PREFIXES, "a RoBERTa")


def load_text_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a RoBERTa or XLM-R: tokenizer.json, or vocab.json and merges.txt.

    Raises CheckpointError where there is none.
    """
    folder = Path(source)
    if is_hub_name(source):
        folder = fetch(str(source), TOKENIZER_FILES)
    if (folder / "tokenizer.json").is_file() or not (folder / "merges.txt").is_file():
        return load_tokenizer(folder)
    try:
        return RobertaTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error})") from error


def make_musicgen(folder: Path, sizes: MusicgenArchitecture, *, seed: int) -> None:
    """Write a MusicGen of these sizes with random weights; see `write_new_musicgen`.

    Raises ConfigError where the sizes do not fit each other.
    """
    frames_a_second, bits = 50, sizes.codebook_size.bit_length() - 1
    codec = {
        "num_filters": sizes.filters,
        "hidden_size": 4 * sizes.filters,
        "codebook_dim": 4 * sizes.filters,
        "codebook_size": sizes.codebook_size,
        "target_bandwidths": ((sizes.codebooks + 0.5) * frames_a_second * bits / 1000,),
    }
    decoder = {
        "vocab_size": sizes.codebook_size,
        "hidden_size": sizes.hidden_size,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "ffn_dim": 4 * sizes.hidden_size,
        "num_codebooks": sizes.codebooks,
    }
    parts = check(CodecConfig, codec, "new_musicgen"), check(DecoderConfig, decoder, "new_musicgen")
    write_new_musicgen(folder, *parts, seed=seed)


def write_new_musicgen(
    folder: Path, codec: CodecConfig, decoder: DecoderConfig, *, seed: int
) -> None:
    """Write a MusicGen with random weights, as `load_codec` and `load_decoder` read it.

    A stand-in where no published model can be had: frozen random layers still tell sounds apart.
    Its bytes depend on the arguments alone. Raises ConfigError where codec and decoder do not fit.
    """
    if codec.codebook_size != decoder.vocab_size or codec.codebooks < decoder.num_codebooks:
        raise ConfigError(
            f"the codec has {codec.codebooks} codebooks of {codec.codebook_size}, the decoder "
            f"{decoder.num_codebooks} of {decoder.vocab_size}: expected the same"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = {"audio_encoder.": Codec(codec)}
        draw_codebooks(parts["audio_encoder."], np.random.default_rng(seed))
        parts["decoder.model.decoder."] = DecoderTower(decoder, PUBLISHED_READING).decoder
    state = {
        prefix + name: tensor.detach().contiguous()
        for prefix, part in parts.items()
        for name, tensor in part.state_dict().items()
    }
    with atomic_path(folder) as draft:
        draft.mkdir()
        settings = {
            "model_type": "musicgen",
            "audio_encoder": codec.model_dump(mode="json") | {"model_type": "encodec"},
            "decoder": decoder.model_dump(mode="json") | {"model_type": "musicgen_decoder"},
        }
        write_json(draft / "config.json", settings)
        write_tensors(state, draft / "model.safetensors")


def _check_kind(folder: Path, settings: Mapping, kinds: tuple[str, ...]) -> None:
    found = settings.get("model_type", "nothing")
    if found not in kinds:
        raise CheckpointError(
            f"{folder}/config.json: model_type is {found}, expected {' or '.join(kinds)}"
        )


def _sizes(kind: type[Section], settings: Mapping, folder: Path) -> Section:
    """The values that `kind` has a name for; a file may leave out what transformers takes then."""
    known = {name: settings[name] for name in kind.model_fields if settings.get(name) is not None}
    usual = DEFAULTS[kind]().to_dict() if kind in DEFAULTS else {}
    defaults = {name: usual[name] for name in kind.model_fields if name in usual}
    if kind is CodecConfig and "codebook_dim" not in known:
        known["codebook_dim"] = known.get("hidden_size", defaults["hidden_size"])
    try:
        return check(kind, defaults | known, f"{folder}/config.json")
    except ConfigError as error:
        raise CheckpointError(f"{error}; models of another build cannot be read") from error


def _filled(part: nn.Module, files: WeightFiles, prefixes: tuple[str, ...], what: str) -> nn.Module:
    shapes = {name: tuple(tensor.shape) for name, tensor in part.state_dict().items()}
    part.load_state_dict(files.part(shapes, prefixes, what), strict=True, assign=True)
    return part.requires_grad_(False).eval()
