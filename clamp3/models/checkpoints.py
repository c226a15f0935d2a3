"""Models on disk: a folder with a description, one safetensors file per part and the tokenizer."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedTokenizerFast

from clamp3.config import M3Architecture, Section, check
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path, sha256_of, write_json
from clamp3.models.clamp import TOWERS, ClampModel, ClampModelConfig
from clamp3.models.encoders import empty_weights
from clamp3.models.lora import adapter_hash, load_adapter, merge_adapter
from clamp3.models.m3 import M3Model, PatchEmbedding
from clamp3.models.tokenizer import load_tokenizer, save_tokenizer
from clamp3.models.weight_files import read_settings
from clamp3.models.weights import (
    Tensors,
    check_tensors,
    read_tensors,
    refuse_not_finite,
    tensors_hash,
)

CONFIG = "config.json"
TOKENIZER = "tokenizer"  # the part that stands for tokenizer.json
OWN_FILES = ("tokenizer.json", "tokenizer_config.json", "README.md")  # besides CONFIG and weights
# A note of a CLaMP 2 trained here: whether it is to read `L:1/8` in scores. The published one is,
# though its training did not show it (clamp3.formats.patches).
KEEPS_UNIT_LENGTH = "keeps_unit_length"
M3_PARTS = ("encoder", "decoder")
EMBEDDING = "decoder.base.transformer.wte.weight"
TIED = "decoder.base.lm_head.weight"  # the same tensor as EMBEDDING
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CheckpointConfig(Section):
    """What config.json of a checkpoint folder says."""

    kind: str
    architecture: Section
    parts: dict[str, str]  # part -> SHA-256 of its tensors (of the file for `tokenizer`)
    fingerprint: str  # SHA-256 over all of the above: the same for the same model
    notes: dict  # where it comes from; for people


class M3CheckpointConfig(CheckpointConfig):
    """What config.json says of an M3 model."""

    kind: Literal["m3"]
    architecture: M3Architecture


class ClampCheckpointConfig(CheckpointConfig):
    """What config.json says of a CLaMP model."""

    kind: Literal["clamp3", "clamp2"]
    architecture: ClampModelConfig


CONFIG_OF = {
    "m3": M3CheckpointConfig,
    "clamp3": ClampCheckpointConfig,
    "clamp2": ClampCheckpointConfig,
}
Config = TypeVar("Config", bound=CheckpointConfig)
Prefixes = dict[str, tuple[str, ...]]  # by part: what the names of its tensors begin with


@dataclass(frozen=True)
class LoadedClamp:
    """A model ready to use, in eval mode."""

    model: ClampModel
    tokenizer: PreTrainedTokenizerFast | None  # None: no text tower asked for, or none was saved
    config: ClampModelConfig
    fingerprint: str  # of the checkpoint, and of the adapter where there is one


def save_checkpoint(
    model: ClampModel | M3Model,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    notes: dict | None = None,
) -> str:
    """Write the model as a checkpoint folder, complete or not at all, and return its fingerprint.

    `notes` (JSON values) go into config.json as they are and do not change the fingerprint. The
    folder's bytes depend on the arguments alone.

    Raises CheckpointError where a value is not finite or an adapter is still attached.
    """
    parts = parts_of(model, _prefixes(model))
    return write_checkpoint(folder, _description(model), parts, tokenizer, notes)


def write_checkpoint(
    folder: Path,
    description: dict,
    tensors: dict[str, Tensors],
    tokenizer: PreTrainedTokenizerFast | None,
    notes: dict | None,
) -> str:
    """Write a checkpoint folder of any kind of model, and return its fingerprint.

    `description`: kind and architecture; `tensors`: those of each part; else as save_checkpoint.
    Raises CheckpointError, too, for a folder with other files: they would be lost.
    """
    refuse_other_files(Path(folder))
    with atomic_path(folder) as draft:
        draft.mkdir()
        parts = {}
        for part, own in tensors.items():
            refuse_not_finite(own, str(folder))
            parts[part] = tensors_hash(own)
            save_file(own, draft / f"{part}.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            save_tokenizer(tokenizer, draft)
            parts[TOKENIZER] = sha256_of(draft / "tokenizer.json")
        content = description | {"parts": parts}
        fingerprint = fingerprint_of(content)
        write_json(
            draft / CONFIG, content | {"fingerprint": fingerprint, "notes": dict(notes or {})}
        )
    return fingerprint


def refuse_other_files(folder: Path) -> None:
    """Raise CheckpointError for a folder with files that no earlier model left there."""
    others = sorted(p.name for p in folder.iterdir() if not _is_own(p)) if folder.is_dir() else ()
    if others:
        raise CheckpointError(
            f"{folder}: holds {others[0]}, which would be lost: a model's folder is replaced as a "
            f"whole; name a folder for the model alone, such as {folder / 'model'}"
        )


def _is_own(path: Path) -> bool:
    """Whether an earlier model may have left the file; hidden ones are those of other programs."""
    if path.name == CONFIG:
        return b'"fingerprint"' in path.read_bytes()
    known = path.name in OWN_FILES or path.suffix == ".safetensors" or path.name.startswith(".")
    return known and path.is_file()


def _description(model: ClampModel | M3Model) -> dict:
    """Kind and architecture; towers that were not built are not there."""
    if isinstance(model, M3Model):
        return {"kind": "m3", "architecture": model.architecture.model_dump(mode="json")}
    absent = {tower: None for tower in TOWERS if tower not in model.towers}
    architecture = model.config.model_dump(mode="json") | absent
    return {"kind": model.config.kind, "architecture": architecture}


def fingerprint_of(content: dict) -> str:
    """The SHA-256 of a checkpoint's kind, architecture and parts."""
    identity = {name: content[name] for name in ("kind", "architecture", "parts")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _prefixes(model: ClampModel | M3Model) -> Prefixes:
    if isinstance(model, M3Model):
        return {part: (f"{part}.",) for part in M3_PARTS}
    return {tower: (f"{model.prefix(tower)}_",) for tower in model.towers}


def parts_of(model: nn.Module, prefixes: Prefixes) -> dict[str, Tensors]:
    """The tensors of each part of a model; the tied one is stored once."""
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    adapted = next((name for name in state if ".lora_" in name), None)
    if adapted:
        raise CheckpointError(
            f"{adapted} belongs to an adapter: save it with save_adapter, or merge it first"
        )
    state.pop(TIED, None)
    return {part: _only(state, own) for part, own in prefixes.items()}


def _only(values: dict, prefixes: tuple[str, ...]) -> dict:
    return {name: value for name, value in values.items() if name.startswith(prefixes)}


def read_config(folder: Path) -> M3CheckpointConfig | ClampCheckpointConfig:
    """The description of a checkpoint folder; no weights are read.

    Raises CheckpointError where there is none, or where it was edited after it was written.
    """
    made = "as `clamp3 import-weights` makes one of a .pth file"
    raw = read_settings(folder, expected=f"a model folder, {made}")
    kind = str(raw.get("kind") or raw.get("model_type") or "unknown")
    if kind not in CONFIG_OF:
        raise CheckpointError(
            f"{Path(folder) / CONFIG}: a model of kind {kind}, expected {' or '.join(CONFIG_OF)}, "
            f"{made}"
        )
    return checked_config(CONFIG_OF[kind], raw, folder)


def checked_config(kind: type[Config], raw: dict, folder: Path) -> Config:
    """The content of a folder's config.json as a `kind`; see `read_config` on the errors."""
    path = Path(folder) / CONFIG
    try:
        config = check(kind, raw, str(path))
    except ConfigError as error:
        raise CheckpointError(f"{error}; was this folder written by this package?") from error
    if fingerprint_of(config.model_dump(mode="json")) != config.fingerprint:
        raise CheckpointError(
            f"{path}: its fingerprint does not belong to its content; was the file edited?"
        )
    return config


def load_m3(
    folder: Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    verify: bool = False,
) -> M3Model:
    """The M3 model of a checkpoint folder, in eval mode.

    `verify` and the errors are those of load_clamp.
    """
    config = read_config(folder)
    if not isinstance(config, M3CheckpointConfig):
        raise CheckpointError(f"{folder}: a checkpoint of kind {config.kind}, expected m3")
    with empty_weights():
        model = M3Model(config.architecture)
    load_parts(model, _prefixes(model), folder, config.parts if verify else None)
    return model.to(device=device, dtype=dtype).eval()


def load_clamp(
    folder: Path,
    *,
    towers: Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    adapter: Path | None = None,
    verify: bool = False,
) -> LoadedClamp:
    """The CLaMP model of a checkpoint folder with the towers asked for (None: all it has).

    Only their files are read. `adapter` is a folder written by `lora.save_adapter`; it is merged
    into the symbolic tower. `verify` recomputes the hash of all weights that are read; without it
    names, shapes and finiteness are checked, but not whether the values are those once saved.

    Raises CheckpointError where a file is missing or damaged, a tensor is missing, superfluous, of
    another shape or not finite, or the folder holds another kind of model or no such tower.
    """
    config = read_config(folder)
    if not isinstance(config, ClampCheckpointConfig):
        raise CheckpointError(f"{folder}: a checkpoint of kind {config.kind}, expected clamp3")
    wanted = wanted_towers(folder, config.architecture.towers, towers)
    with empty_weights():
        model = ClampModel(config.architecture, wanted)
    load_parts(model, _prefixes(model), folder, config.parts if verify else None)
    fingerprint = config.fingerprint
    if adapter is not None:
        fingerprint = _merge(model, adapter, fingerprint)
    tokenizer = read_tokenizer(folder, config) if "text" in wanted else None
    model = model.to(device=device, dtype=dtype).eval()
    return LoadedClamp(model, tokenizer, config.architecture, fingerprint)


def wanted_towers(
    source: str | Path, has: tuple[str, ...], towers: Iterable[str] | None
) -> tuple[str, ...]:
    """The towers asked for (None: all). Raises CheckpointError where the model `has` not all."""
    wanted = has if towers is None else tuple(towers)
    if not wanted or not set(wanted) <= set(has):
        raise CheckpointError(
            f"{source}: asked for the towers {', '.join(wanted) or '(none)'}; "
            f"it has {', '.join(has)}"
        )
    return wanted


def load_parts(
    model: nn.Module, prefixes: Prefixes, folder: Path, hashes: dict[str, str] | None
) -> None:
    """Fill a model that was built empty from the files of its parts, whose `hashes` are verified.

    None: they are not. Raises CheckpointError as `load_clamp` does.
    """
    shapes = shapes_of(model)
    state: Tensors = {}
    for part, own in prefixes.items():
        path = Path(folder) / f"{part}.safetensors"
        tensors = read_tensors(path)
        check_tensors(tensors, _only(shapes, own), str(path))
        if hashes is not None and tensors_hash(tensors) != hashes.get(part):
            raise CheckpointError(f"{path}: not the weights that the checkpoint was saved with")
        state |= tensors
    assign(model, state)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor that the model's weights must hold; the tied one is left out."""
    return {name: tuple(t.shape) for name, t in model.state_dict().items() if name != TIED}


def assign(model: nn.Module, tensors: Tensors) -> None:
    """Give a model that was built empty its tensors, without copying them."""
    if EMBEDDING in tensors:
        tensors = tensors | {TIED: tensors[EMBEDDING]}
    model.load_state_dict(tensors, strict=True, assign=True)
    if EMBEDDING in tensors:
        model.decoder.tie()
    for module in model.modules():
        if isinstance(module, PatchEmbedding):
            module.arrange()


def _merge(model: ClampModel, adapter: Path, fingerprint: str) -> str:
    if "symbolic" in model.towers:
        merge_adapter(load_adapter(model, adapter))
    return hashlib.sha256(f"{fingerprint} {adapter_hash(adapter)}".encode()).hexdigest()


def read_tokenizer(folder: Path, config: CheckpointConfig) -> PreTrainedTokenizerFast | None:
    """The tokenizer that was saved with a model; None where none was.

    Raises CheckpointError where it is missing, damaged or another one.
    """
    if TOKENIZER not in config.parts:
        return None
    tokenizer = load_tokenizer(folder)
    path = Path(folder) / "tokenizer.json"
    if sha256_of(path) != config.parts[TOKENIZER]:
        raise CheckpointError(f"{path}: not the tokenizer that the checkpoint was saved with")
    return tokenizer
