"""The originals' checkpoints: .pth files of M3, CLaMP 2 and CLaMP 3 as models of this package."""

import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from clamp3.config import M3Architecture
from clamp3.errors import CheckpointError
from clamp3.files import sha256_of
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.encoders import HEAD_SIZE, empty_weights
from clamp3.models.m3 import CHARACTERS, M3Model
from clamp3.models.text import TextTowerConfig
from clamp3.models.weights import (
    EMBEDDING,
    TIED,
    Tensors,
    assign,
    check_tensors,
    shapes_of,
)

DECODER_LAYERS = 3  # of the published M3; a CLaMP checkpoint holds no decoder to count
MAX_TOKENS = 128  # where the file's name does not say
ARCHITECTURE = "architecture"  # JSON; in files that this package wrote
NOTED = ("epoch", "best_epoch", "min_eval_loss", "modality")
# Constants that older versions of transformers stored with the weights.
CONSTANTS = (".position_ids", ".token_type_ids", ".attn.bias", ".attn.masked_bias")
# A loss kept as a numpy number is harmless, but torch refuses it unless it is named.
NUMBERS = [
    np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
]


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
    what the file's name says as `t_length_…`, else 128). The file is mapped into memory, and the
    optimizer's state in it is not read. Nothing in it is executed.

    Raises CheckpointError where the file is damaged, holds anything but numbers, or holds no such
    model.
    """
    path = Path(path)
    content = _read(path)
    state = _clean(content.get("model", content), path)
    told = _told(content)
    with empty_weights():
        model = _model(
            state,
            path,
            text_heads or told.get("num_attention_heads"),
            max_tokens or told.get("max_tokens") or _named_tokens(path),
        )
    if not torch.equal(state.get(EMBEDDING, torch.empty(0)), state.pop(TIED, torch.empty(0))):
        raise CheckpointError(f"{path}: {TIED} and {EMBEDDING} differ, expected one tensor")
    check_tensors(state, shapes_of(model), str(path))
    assign(model, state)
    notes = {"source": path.name, "source_sha256": sha256_of(path)}
    notes |= {name: _plain(content[name]) for name in NOTED if name in content}
    return Published(model.eval(), notes)


def _read(path: Path) -> dict:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with torch.serialization.safe_globals(NUMBERS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds something other than numbers, which could be a program; only weights "
            f"are read ({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path}: not a readable .pth file ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, expected a dictionary")
    return content


def _told(content: dict) -> dict:
    """What a file that this package wrote says of its text tower."""
    told = content.get(ARCHITECTURE)
    architecture = json.loads(told) if isinstance(told, str) else {}
    return architecture.get("text") or {}


def _clean(state: object, path: Path) -> Tensors:
    """The weights as floats under the names of the model."""
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise CheckpointError(f"{path}: its `model` is no dictionary of tensors")
    named = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return {name: t.float() for name, t in named.items() if not name.endswith(CONSTANTS)}


def _model(
    state: Tensors, path: Path, text_heads: int | None, max_tokens: int
) -> ClampModel | M3Model:
    try:
        if "encoder.patch_embedding.weight" in state:
            return M3Model(_symbolic(state, "encoder"))
        return ClampModel(_clamp_config(state, text_heads, max_tokens))
    except KeyError as error:
        raise CheckpointError(
            f"{path}: no tensor {error}; expected the weights of M3, CLaMP 2 or CLaMP 3"
        ) from error


def _clamp_config(state: Tensors, text_heads: int | None, max_tokens: int) -> ClampModelConfig:
    kind = "clamp2" if "music_proj.weight" in state else "clamp3"
    return ClampModelConfig(
        kind=kind,
        width=len(state["text_proj.weight"]),
        similarity="dot",
        text=_text(state, text_heads, max_tokens),
        symbolic=_symbolic(state, "music_model" if kind == "clamp2" else "symbolic_model"),
        audio=_audio(state) if kind == "clamp3" else None,
    )


def _symbolic(state: Tensors, prefix: str) -> M3Architecture:
    hidden_size, inputs = state[f"{prefix}.patch_embedding.weight"].shape
    return M3Architecture(
        patch_size=inputs // CHARACTERS,
        patch_length=len(state[f"{prefix}.base.embeddings.position_embeddings.weight"]),
        hidden_size=hidden_size,
        encoder_layers=_layers(state, f"{prefix}.base.encoder.layer"),
        decoder_layers=_layers(state, "decoder.base.transformer.h") or DECODER_LAYERS,
    )


def _audio(state: Tensors) -> AudioTowerConfig:
    positions, hidden_size = state["audio_model.embeddings.position_embeddings.weight"].shape
    return AudioTowerConfig(
        hidden_size=hidden_size,
        layers=_layers(state, "audio_model.encoder.layer"),
        max_frames=positions,
        feature_size=hidden_size,
    )


def _text(state: Tensors, heads: int | None, max_tokens: int) -> TextTowerConfig:
    vocabulary, hidden_size = state["text_model.embeddings.word_embeddings.weight"].shape
    return TextTowerConfig(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        num_hidden_layers=_layers(state, "text_model.encoder.layer"),
        num_attention_heads=heads or max(1, hidden_size // HEAD_SIZE),
        intermediate_size=len(state["text_model.encoder.layer.0.intermediate.dense.weight"]),
        max_position_embeddings=len(state["text_model.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(state["text_model.embeddings.token_type_embeddings.weight"]),
        max_tokens=max_tokens,
    )


def _layers(state: Tensors, prefix: str) -> int:
    numbers = {name[len(prefix) + 1 :].split(".")[0] for name in state if name.startswith(prefix)}
    return len(numbers)


def _named_tokens(path: Path) -> int:
    named = re.search(r"_t_length_(\d+)(?=[_.])", path.name)
    return int(named[1]) if named else MAX_TOKENS


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
