"""CLAP-MusicGen on disk: a description, one safetensors file per tower, the tokenizer."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from clamp3.config import Section, check
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import parse_json, sha256_of
from clamp3.models.checkpoints import CONFIG, TOKENIZER, fingerprint_of, write_checkpoint
from clamp3.models.clap_musicgen.model import PARTS, ClapModel, ClapModelConfig
from clamp3.models.clap_musicgen.pretrained import load_text_tokenizer
from clamp3.models.clap_musicgen.published import is_published, read_published_clap
from clamp3.models.clap_musicgen.weight_files import model_folder
from clamp3.models.encoders import empty_weights
from clamp3.models.hub import is_hub_name, resolve
from clamp3.models.kinds import CLAP
from clamp3.models.tokenizer import load_tokenizer, tokenizer_json
from clamp3.models.weights import (
    Tensors,
    check_tensors,
    read_tensors,
    tensors_hash,
)

PUBLISHED_TOKENIZER = "yuhuacheng/clap-roberta-finetuned"  # of the published model


class ClapCheckpointConfig(Section):
    """What config.json of a checkpoint folder says; see `checkpoints.CheckpointConfig`."""

    kind: Literal["clap_musicgen"]
    architecture: ClapModelConfig
    parts: dict[str, str]
    fingerprint: str
    notes: dict


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
    return write_checkpoint(folder, description, _split(model), tokenizer, notes)


def _architecture(model: ClapModel) -> dict:
    """Towers that were not built are not there."""
    absent = {"text": ("text",), "audio": ("audio", "codec")}
    missing = [name for tower in absent if tower not in model.towers for name in absent[tower]]
    return model.config.model_dump(mode="json") | dict.fromkeys(missing)


def _split(model: ClapModel) -> dict[str, Tensors]:
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    return {
        tower: {n: t for n, t in state.items() if n.split(".")[0] in PARTS[tower]}
        for tower in model.towers
    }


def read_clap_config(folder: Path) -> ClapCheckpointConfig:
    """The description of a checkpoint folder of ours; no weights are read.

    Raises CheckpointError where there is none, or where it was edited after it was written.
    """
    path = Path(folder) / CONFIG
    try:
        config = check(ClapCheckpointConfig, parse_json(path.read_text("utf-8")), str(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; expected a checkpoint folder") from error
    except (OSError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path}: not the description of a CLAP-MusicGen ({error}); was it written by this "
            "package?"
        ) from error
    if fingerprint_of(config.model_dump(mode="json")) != config.fingerprint:
        raise CheckpointError(
            f"{path}: its fingerprint does not belong to its content; was the file edited?"
        )
    return config


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
    wanted = _wanted(source, config.architecture.towers, towers)
    folder = resolve(source, wanted)
    with empty_weights():
        model = ClapModel(config.architecture, wanted)
    for tower in wanted:
        _load_tower(model, tower, folder, config, verify)
    words = _tokenizer(folder, config) if "text" in wanted else None
    return LoadedClap(_placed(model, device, dtype), words, config.fingerprint)


def _is_ours(folder: Path) -> bool:
    try:
        return parse_json((folder / CONFIG).read_text(encoding="utf-8")).get("kind") is not None
    except (OSError, ValueError, AttributeError):
        return False


def _wanted(
    source: str | Path, has: tuple[str, ...], towers: Iterable[str] | None
) -> tuple[str, ...]:
    wanted = has if towers is None else tuple(towers)
    if not wanted or not set(wanted) <= set(has):
        raise CheckpointError(
            f"{source}: asked for the towers {', '.join(wanted) or '(none)'}; "
            f"it has {', '.join(has)}"
        )
    return wanted


def _load_tower(
    model: ClapModel, tower: str, folder: Path, config: ClapCheckpointConfig, verify: bool
) -> None:
    path = folder / f"{tower}.safetensors"
    tensors = read_tensors(path)
    own = {part: model.get_submodule(part).state_dict() for part in PARTS[tower]}
    shapes = {f"{p}.{n}": tuple(t.shape) for p, state in own.items() for n, t in state.items()}
    check_tensors(tensors, shapes, str(path))
    if verify and tensors_hash(tensors) != config.parts.get(tower):
        raise CheckpointError(f"{path}: not the weights that the checkpoint was saved with")
    for part in own:
        named = {
            n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(part + ".")
        }
        model.get_submodule(part).load_state_dict(named, strict=True, assign=True)


def _tokenizer(folder: Path, config: ClapCheckpointConfig) -> PreTrainedTokenizerFast | None:
    if TOKENIZER not in config.parts:
        return None
    path = folder / "tokenizer.json"
    words = load_tokenizer(folder)
    if sha256_of(path) != config.parts[TOKENIZER]:
        raise CheckpointError(f"{path}: not the tokenizer that the checkpoint was saved with")
    return words


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
    if not is_published(folder):
        raise CheckpointError(
            f"{source}: neither a CLAP-MusicGen of this package nor the original's CLAPModel"
        )
    model = read_published_clap(folder)
    wanted = _wanted(source, model.towers, towers)
    words = _own_tokenizer(folder, tokenizer)
    parts = {tower: tensors_hash(tensors) for tower, tensors in _split(model).items()}
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
