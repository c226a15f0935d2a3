"""CLAP-MusicGen on disk: a description, one safetensors file per tower, the tokenizer."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from clamp3.errors import CheckpointError
from clamp3.models.checkpoints import (
    TOKENIZER,
    CheckpointConfig,
    Prefixes,
    checked_config,
    fingerprint_of,
    load_parts,
    parts_of,
    read_tokenizer,
    wanted_towers,
    write_checkpoint,
)
from clamp3.models.clap_musicgen.model import PARTS, ClapModel, ClapModelConfig
from clamp3.models.clap_musicgen.pretrained import load_text_tokenizer
from clamp3.models.clap_musicgen.published import is_published, read_published_clap
from clamp3.models.encoders import empty_weights
from clamp3.models.hub import is_hub_name, resolve
from clamp3.models.kinds import CLAP
from clamp3.models.tokenizer import tokenizer_json
from clamp3.models.weight_files import model_folder, read_settings
from clamp3.models.weights import tensors_hash

PUBLISHED_TOKENIZER = "yuhuacheng/clap-roberta-finetuned"  # of the published model


class ClapCheckpointConfig(CheckpointConfig):
    """What config.json says of a CLAP-MusicGen."""

    kind: Literal["clap_musicgen"]
    architecture: ClapModelConfig


@dataclass(frozen=True)
class LoadedClap:
    """A model ready to use, in eval mode."""

    model: ClapModel
    tokenizer: PreTrainedTokenizerFast | None  # None: no text tower asked for, or none was saved
    fingerprint: str


def save_clap(
    model: ClapModel,
    folder: Path,
    *,
    tokenizer: PreTrainedTokenizerFast | None = None,
    notes: dict | None = None,
) -> str:
    """Write the model as a checkpoint folder, complete or not at all, and return its fingerprint.

    As `checkpoints.save_checkpoint`: `notes` do not change the fingerprint. Raises CheckpointError
    where a value is not finite.
    """
    description = {"kind": CLAP, "architecture": _architecture(model)}
    parts = parts_of(model, _prefixes(model))
    return write_checkpoint(folder, description, parts, tokenizer, notes)


def _architecture(model: ClapModel) -> dict:
    """Towers that were not built are not there."""
    absent = {"text": ("text",), "audio": ("audio", "codec")}
    missing = [name for tower in absent if tower not in model.towers for name in absent[tower]]
    return model.config.model_dump(mode="json") | dict.fromkeys(missing)


def _prefixes(model: ClapModel) -> Prefixes:
    return {tower: tuple(f"{part}." for part in PARTS[tower]) for tower in model.towers}


def read_clap_config(folder: Path) -> ClapCheckpointConfig:
    """The description of a checkpoint folder of ours; see `checkpoints.read_config`."""
    raw = read_settings(folder, expected="a checkpoint folder")
    return checked_config(ClapCheckpointConfig, raw, folder)


def load_clap(
    source: str | Path,
    *,
    towers: Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    tokenizer: str | Path | None = None,
    verify: bool = False,
) -> LoadedClap:
    """The CLAP-MusicGen of a folder or hub name, ours or the original's, with the towers asked for.

    The codec stays float32 whatever `dtype` says: codes are decided by small differences.
    `tokenizer`: where the original's model has its tokenizer from, which it does not hold itself;
    None: its folder, else the published one on the hub. `verify` recomputes the hash of all weights
    of ours.

    Raises CheckpointError where there is no such model or tower, or it is damaged.
    """
    first = resolve(source, ())
    if not _is_ours(first):
        return _load_published(source, towers, device, dtype, tokenizer)
    config = read_clap_config(first)
    wanted = wanted_towers(source, config.architecture.towers, towers)
    folder = resolve(source, wanted)
    with empty_weights():
        model = ClapModel(config.architecture, wanted)
    load_parts(model, _prefixes(model), folder, config.parts if verify else None)
    words = read_tokenizer(folder, config) if "text" in wanted else None
    return LoadedClap(_placed(model, device, dtype), words, config.fingerprint)


def _is_ours(folder: Path) -> bool:
    try:
        return read_settings(folder).get("kind") is not None
    except CheckpointError:
        return False


def _placed(model: nn.Module, device: str | torch.device, dtype: torch.dtype) -> nn.Module:
    for name, part in model.named_children():
        part.to(device=device, dtype=torch.float32 if name == "codec" else dtype)
    return model.eval()


def _load_published(
    source: str | Path,
    towers: Iterable[str] | None,
    device: str | torch.device,
    dtype: torch.dtype,
    tokenizer: str | Path | None,
) -> LoadedClap:
    folder = model_folder(source)
    described = (folder / "config.json").exists()
    if described:
        read_settings(folder)  # says what is wrong with it, if anything is
    if not is_published(folder):
        raise CheckpointError(
            f"{source}: neither a CLAP-MusicGen of this package nor the original's CLAPModel"
            + ("" if described else "; there is no config.json")
        )
    model = read_published_clap(folder)
    wanted = wanted_towers(source, model.towers, towers)
    words = _own_tokenizer(folder, tokenizer)
    tensors = parts_of(model, _prefixes(model))
    parts = {tower: tensors_hash(own) for tower, own in tensors.items()}
    if words is not None:
        parts[TOKENIZER] = hashlib.sha256(tokenizer_json(words).encode()).hexdigest()
    content = {"kind": CLAP, "architecture": _architecture(model), "parts": parts}
    for tower in model.towers:
        for part in PARTS[tower] if tower not in wanted else ():
            delattr(model, part)
    model.towers = wanted
    if words is None and is_hub_name(source) and "text" in wanted:
        words = load_text_tokenizer(PUBLISHED_TOKENIZER)
    return LoadedClap(_placed(model, device, dtype), words, fingerprint_of(content))


def _own_tokenizer(folder: Path, tokenizer: str | Path | None) -> PreTrainedTokenizerFast | None:
    """The one that was named, or that lies in the folder."""
    names = ("tokenizer.json", "merges.txt")
    if tokenizer is None and not any((folder / name).is_file() for name in names):
        return None
    return load_text_tokenizer(folder if tokenizer is None else tokenizer)
