"""Adapters by the format they are for: which are named, and one model in memory for all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import parse_json
from clamp3.models.bfloat16 import suit_cpu
from clamp3.models.checkpoints import LoadedClamp, load_clamp
from clamp3.models.lora import HISTORY

FORMATS = ("abc", "mtf")
Adapters = str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None


def adapters_by_format(given: Adapters) -> dict[str, Path]:
    """The adapter's folder of each format that has one, abc and mtf.

    `given` is a folder, `{"abc": folder, "mtf": folder}`, or several words, each a folder or
    `abc=FOLDER`. An adapter that was trained here says what it is for; any other that is named
    without a format is for both.

    Raises ConfigError for other formats, and where two adapters are for one.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = [_check_format(name, folder) for name, folder in given.items()]
    else:
        words = [given] if isinstance(given, str | Path) else given
        named = [found for word in words for found in _read_word(word)]
    found: dict[str, Path] = {}
    for name, folder in named:
        if found.setdefault(name, folder) != folder:
            raise ConfigError(
                f"{folder}: a second adapter for {name}, after {found[name]}; expected one, or "
                "abc=FOLDER and mtf=FOLDER"
            )
    return dict(sorted(found.items()))


def _read_word(word: str | Path) -> list[tuple[str, Path]]:
    name, equals, folder = str(word).partition("=")
    if equals and not Path(word).exists() and "/" not in name:
        return [_check_format(name, folder)]
    return [(name, Path(word)) for name in _trained_for(Path(word))]


def _check_format(name: str, folder: str | Path) -> tuple[str, Path]:
    if name not in FORMATS:
        raise ConfigError(f"adapter {name}={folder}: expected one of {', '.join(FORMATS)}")
    return name, Path(folder)


def _trained_for(folder: Path) -> Sequence[str]:
    """The formats that an adapter is for: what its history says, or all."""
    path = folder / HISTORY
    if not path.is_file():
        return FORMATS
    try:
        said = parse_json(path.read_text(encoding="utf-8")).get("modality")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not an adapter's history ({error})") from error
    return [said] if said in FORMATS else FORMATS


def load_adapted(
    folder: Path,
    adapters: Sequence[Path | None],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> list[LoadedClamp]:
    """The symbolic tower of a checkpoint once for each adapter (None: without one).

    Each is what `load_clamp` gives for it, to the bit, made ready to compute; layers that are the
    same in all of them are in memory once. Raises what `load_clamp` raises.
    """
    all_loaded, common = [], []
    for adapter in adapters:
        loaded = load_clamp(
            folder, towers=["symbolic"], adapter=adapter, device=device, dtype=dtype
        )
        first = (all_loaded or [loaded])[0].model
        common.append(_same_layers(first, loaded.model))
        _share(common[-1], first, loaded.model)
        all_loaded.append(loaded)
    for loaded, names in zip(all_loaded, common, strict=True):
        suit_cpu(loaded.model)  # may give every layer weights of its own again
        _share(names, all_loaded[0].model, loaded.model)
    return all_loaded


def _same_layers(one: nn.Module, other: nn.Module) -> list[str]:
    """The names of the innermost modules with weights that both have with the same values."""
    theirs = dict(other.named_modules())
    return [
        name
        for name, module in one.named_modules()
        if not any(module.children())
        and any(True for _ in module.parameters())
        and _same(module.state_dict(), theirs[name].state_dict())
    ]


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _share(names: Sequence[str], source: nn.Module, target: nn.Module) -> None:
    """Give `target` the modules that `source` has under these names."""
    for name in names:
        parent, _, own = name.rpartition(".")
        setattr(target.get_submodule(parent), own, source.get_submodule(name))
