"""The originals' checkpoints: .pth files of M3, CLaMP 2 and CLaMP 3 as models of this package."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from clamp3.config import M3Architecture, check
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import parse_json, sha256_of
from clamp3.models.checkpoints import EMBEDDING, TIED, assign, shapes_of
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.encoders import HEAD_SIZE, empty_weights
from clamp3.models.m3 import CHARACTERS, M3Model
from clamp3.models.text import TextTowerConfig
from clamp3.models.weights import Tensors, check_tensors, read_tensors, unpickled

DECODER_LAYERS = 3  # of the published M3; a CLaMP checkpoint holds no decoder to count
MAX_TOKENS = 128  # where the file's name does not say
ARCHITECTURE = "architecture"  # JSON; in files that this package wrote
NOTED = ("epoch", "best_epoch", "min_eval_loss", "modality")
# Constants that older versions of transformers stored with the weights.
CONSTANTS = (".position_ids", ".token_type_ids", ".attn.bias", ".attn.masked_bias")


@dataclass(frozen=True)
class Published:
    """A model read from a .pth file, and where it comes from, for a checkpoint's notes."""

    model: ClampModel | M3Model
    notes: dict


def read_published(
    path: Path, *, text_heads: int | None = None, max_tokens: int | None = None
) -> Published:
    """The model of a .pth file written by the originals' training, in eval mode.

    The kind and all sizes follow from the tensors. What does not: the attention heads of the text
    model (default: one per 64 of its width, as in XLM-R) and the longest text in tokens (default:
    what the file's name says as `t_length_…`, else 128). A file that `export_weights` wrote tells
    all of it. A bare dictionary of tensors and a safetensors file are read too. The file is mapped
    into memory, and the optimizer's state in it is not read. Nothing in it is executed.

    Raises CheckpointError where the file is damaged, holds anything but numbers, or holds no such
    model.
    """
    path = Path(path)
    content = _read(path)
    state = _clean(content.get("model", content), path)
    try:
        sizes = _told(content) or _found(state, path)
        with empty_weights():
            model = _model(sizes, text_heads, max_tokens)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error
    _check(state, model, path)
    assign(model, state)
    notes = {"source": path.name, "source_sha256": sha256_of(path)}
    notes |= {name: _plain(content[name]) for name in NOTED if name in content}
    return Published(model.eval(), notes)


def _read(path: Path) -> dict:
    if not path.is_file():
        found = "a folder, expected the .pth file itself" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    content = unpickled(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dictionary")
    return content


def _told(content: dict) -> M3Architecture | ClampModelConfig | None:
    """The sizes that a file which this package wrote tells of itself."""
    told = content.get(ARCHITECTURE)
    if not isinstance(told, str):
        return None
    try:
        sizes = parse_json(told)
    except ValueError as error:
        raise ConfigError(f"its `{ARCHITECTURE}` is not readable as JSON ({error})") from error
    is_clamp = isinstance(sizes, dict) and "kind" in sizes
    return check(ClampModelConfig if is_clamp else M3Architecture, sizes, ARCHITECTURE)


def _clean(state: object, path: Path) -> Tensors:
    """The weights as floats under the names of the model."""
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(
            f"{path}: holds no dictionary of tensors as `model`, and is none itself; was it "
            "written by other code than the originals'?"
        )
    named = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in named.items()
        if not name.endswith(CONSTANTS)
    }


def _check(state: Tensors, model: ClampModel | M3Model, path: Path) -> None:
    """Refuse tensors that do not fit the model; the tied one must be there twice."""
    shapes = shapes_of(model)
    if EMBEDDING in shapes:
        shapes[TIED] = shapes[EMBEDDING]
    check_tensors(state, shapes, str(path))
    if TIED in shapes and not torch.equal(state.pop(TIED), state[EMBEDDING]):
        raise CheckpointError(f"{path}: {TIED} and {EMBEDDING} differ, expected one tensor")


def _model(
    sizes: M3Architecture | ClampModelConfig, heads: int | None, max_tokens: int | None
) -> ClampModel | M3Model:
    if isinstance(sizes, M3Architecture):
        return M3Model(sizes)
    wanted = {"num_attention_heads": heads, "max_tokens": max_tokens}
    wanted = {name: value for name, value in wanted.items() if value}
    text = sizes.text and sizes.text.model_copy(update=wanted)
    return ClampModel(sizes.model_copy(update={"text": text}))


def _found(state: Tensors, path: Path) -> M3Architecture | ClampModelConfig:
    """The sizes that follow from the tensors.

    Widths are those of vectors, which cannot be transposed; so a matrix that is transposed or cut
    is found by its shape afterwards.
    """
    beginnings = {name.partition(".")[0] for name in state}
    try:
        if "encoder" in beginnings:
            return _symbolic(state, "encoder")
        return _clamp_config(state, "clamp2" if "music_model" in beginnings else "clamp3", path)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: no tensor {error}; expected the weights of M3, CLaMP 2 or CLaMP 3"
        ) from error


def _clamp_config(state: Tensors, kind: str, path: Path) -> ClampModelConfig:
    return ClampModelConfig(
        kind=kind,
        width=_length(state, "text_proj.bias"),
        similarity="dot",
        text=_text(state, path),
        symbolic=_symbolic(state, "music_model" if kind == "clamp2" else "symbolic_model"),
        audio=_audio(state) if kind == "clamp3" else None,
    )


def _symbolic(state: Tensors, prefix: str) -> M3Architecture:
    hidden_size = _length(state, f"{prefix}.patch_embedding.bias")
    characters = _rows(state, f"{prefix}.patch_embedding.weight", hidden_size)
    positions = f"{prefix}.base.embeddings.position_embeddings.weight"
    return M3Architecture(
        patch_size=max(1, characters // CHARACTERS),
        patch_length=_rows(state, positions, hidden_size),
        hidden_size=hidden_size,
        encoder_layers=_layers(state, f"{prefix}.base.encoder.layer"),
        decoder_layers=_layers(state, "decoder.base.transformer.h", DECODER_LAYERS),
    )


def _audio(state: Tensors) -> AudioTowerConfig:
    hidden_size = _length(state, "audio_model.embeddings.LayerNorm.bias")
    positions = "audio_model.embeddings.position_embeddings.weight"
    return AudioTowerConfig(
        hidden_size=hidden_size,
        layers=_layers(state, "audio_model.encoder.layer"),
        max_frames=_rows(state, positions, hidden_size),
        feature_size=hidden_size,
    )


def _text(state: Tensors, path: Path) -> TextTowerConfig:
    hidden_size = _length(state, "text_model.embeddings.LayerNorm.bias")
    words, positions, types = (
        _rows(state, f"text_model.embeddings.{name}_embeddings.weight", hidden_size)
        for name in ("word", "position", "token_type")
    )
    return TextTowerConfig(
        vocab_size=words,
        hidden_size=hidden_size,
        num_hidden_layers=_layers(state, "text_model.encoder.layer"),
        num_attention_heads=max(1, hidden_size // HEAD_SIZE),
        intermediate_size=_length(state, "text_model.encoder.layer.0.intermediate.dense.bias"),
        max_position_embeddings=positions,
        type_vocab_size=types,
        max_tokens=_named_tokens(path),
    )


def _length(state: Tensors, name: str) -> int:
    return _numbers(state, name, axes=1)


def _rows(state: Tensors, name: str, width: int) -> int:
    return max(1, _numbers(state, name, axes=2) // width)


def _numbers(state: Tensors, name: str, axes: int) -> int:
    shape = list(state[name].shape)
    if len(shape) != axes or not state[name].numel():
        raise ConfigError(f"{name} has the shape {shape}, expected {axes} dimensions, not empty")
    return state[name].numel()


def _layers(state: Tensors, prefix: str, otherwise: int = 1) -> int:
    numbers = {name[len(prefix) + 1 :].split(".")[0] for name in state if name.startswith(prefix)}
    return len(numbers) or otherwise


def _named_tokens(path: Path) -> int:
    named = re.search(r"_t_length_(\d+)(?=[_.])", path.name)
    return int(named[1]) if named else MAX_TOKENS


def _plain(value: object) -> object:
    """A note as JSON can hold it."""
    if isinstance(value, np.generic) or (torch.is_tensor(value) and value.numel() == 1):
        return value.item()
    return value if isinstance(value, str | int | float | None) else str(value)
