"""Low-rank adapters of the symbolic tower, in peft's own layout."""

import copy
import hashlib
import json
from pathlib import Path

import peft
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn

from clamp3.config import LoraConfig
from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import atomic_path, write_json
from clamp3.models.clamp import ClampModel
from clamp3.models.encoders import empty_weights
from clamp3.models.weights import (
    check_tensors,
    read_tensors,
    refuse_changed,
    tensors_hash,
    write_tensors,
)

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
HISTORY = "history.json"  # of adapters that were trained here: modality, base, figures …


def add_lora(model: ClampModel, config: LoraConfig) -> ClampModel:
    """The model with a new adapter in its symbolic tower, and nothing but that trainable.

    The model is changed in place. `config.targets` name layers of the tower's BERT (query, key,
    value). A new adapter changes no output; its random half comes from torch's global generator.

    Raises ConfigError where a target is no layer of the tower.

    Source: Ononymous/291A-clamp3@af06771 code/train_clamp3_lora.py
    """
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        bias="none",
        task_type="FEATURE_EXTRACTION",
    )
    names = {name.rsplit(".", 1)[-1] for name, _ in _bare(model).named_modules()}
    unknown = [target for target in config.targets if target not in names]
    if unknown or not config.targets:
        raise ConfigError(
            f"lora.targets: no layer is called {', '.join(unknown) or 'so'}; "
            "expected names such as query, key, value"
        )
    _attach(model, settings)
    return model


def has_adapter(model: ClampModel) -> bool:
    """Whether an adapter is attached to the symbolic tower (a merged one is not)."""
    return isinstance(model.encoder("symbolic").base, peft.PeftModel)


def trainable_parameters(model: nn.Module) -> int:
    """The number of values that training would change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def describe_adapter(model: ClampModel) -> str:
    """What learns of the symbolic tower, for people: `221,184 of the 92,555,520 parameters …`."""
    settings = _adapted(model).peft_config["default"]
    adapter, tower = trainable_parameters(model), model.encoder("symbolic")
    return (
        f"{adapter:,} of the {sum(p.numel() for p in tower.parameters()):,} parameters of the "
        f"symbolic tower learn (rank {settings.r}, alpha {settings.lora_alpha}, "
        f"{', '.join(sorted(settings.target_modules))})"
    )


def save_adapter(model: ClampModel, folder: Path) -> None:
    """Write the adapter as peft does: adapter_config.json and adapter_model.safetensors.

    Other programs' `PeftModel.from_pretrained(symbolic_model.base, folder)` reads it. The folder is
    complete or not there, and its bytes depend on the adapter alone. Raises CheckpointError where a
    value is not finite.
    """
    adapted = _adapted(model)
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(adapted).items()
    }
    check_tensors(tensors, {name: tuple(t.shape) for name, t in tensors.items()}, str(folder))
    with atomic_path(folder) as draft:
        draft.mkdir()
        write_tensors(tensors, draft / ADAPTER_WEIGHTS)
        write_json(draft / ADAPTER_CONFIG, _settings(adapted))


def _settings(adapted: peft.PeftModel) -> dict:
    """peft's own description, as an adapter at rest and without the order of a set."""
    settings = adapted.peft_config["default"].to_dict()
    settings |= {"inference_mode": True, "base_model_name_or_path": ""}
    plain = json.loads(json.dumps(settings, default=_as_list))
    plain["target_modules"] = sorted(plain["target_modules"])
    return dict(sorted(plain.items()))


def _as_list(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)


def load_adapter(model: ClampModel, folder: Path) -> ClampModel:
    """The model with the adapter of `folder` attached to its symbolic tower, changed in place.

    The model is frozen. Reads what peft wrote: adapters of this package and of the LoRA project
    alike.

    Raises CheckpointError where the folder holds no LoRA adapter, the adapter does not fit the
    tower, or the model has one already. The model is then as it was.
    """
    if has_adapter(model):
        raise CheckpointError(f"{folder}: the model has an adapter already; merge it first")
    settings = _read_settings(folder)
    path = Path(folder) / ADAPTER_WEIGHTS
    tensors = read_tensors(path)
    refuse_changed(path)
    check_tensors(tensors, _expected_shapes(model, settings, folder), str(path))
    adapted = _attach(model, settings, low_cpu_mem_usage=True)
    set_peft_model_state_dict(adapted, tensors, low_cpu_mem_usage=True)
    return model


def _attach(model: ClampModel, settings: peft.LoraConfig, **options: bool) -> peft.PeftModel:
    model.requires_grad_(False)
    adapted = peft.get_peft_model(_bare(model), settings, **options)
    adapted.train(model.training)  # its dropout does not know the mode of the model
    model.encoder("symbolic").base = adapted
    return adapted


def _expected_shapes(model: ClampModel, settings: peft.LoraConfig, folder: Path) -> dict:
    """The shapes of an adapter's tensors, tried on a tower without memory."""
    with empty_weights():
        trial = type(_bare(model))(_bare(model).config)
    try:
        adapted = peft.get_peft_model(trial, copy.deepcopy(settings), low_cpu_mem_usage=True)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: does not fit the symbolic tower ({error})") from error
    return {name: tuple(t.shape) for name, t in get_peft_model_state_dict(adapted).items()}


def _read_settings(folder: Path) -> peft.LoraConfig:
    path = Path(folder) / ADAPTER_CONFIG
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the folder of a LoRA adapter")
    try:
        settings = peft.PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: not an adapter's description ({error})") from error
    if not isinstance(settings, peft.LoraConfig):
        raise CheckpointError(f"{path}: an adapter of type {settings.peft_type}, expected LORA")
    settings.base_model_name_or_path = None  # the model is at hand, wherever it came from
    settings.inference_mode = True
    return settings


def merge_adapter(model: ClampModel) -> ClampModel:
    """The model with its adapter added to the weights, in place: W + alpha / rank * B @ A."""
    model.encoder("symbolic").base = _adapted(model).merge_and_unload()
    return model


def adapter_hash(folder: Path) -> str:
    """The SHA-256 of an adapter's tensors and of the settings that scale them."""
    settings = _read_settings(folder)
    scale = [settings.lora_alpha, settings.use_rslora, settings.rank_pattern]
    scale += [settings.alpha_pattern, tensors_hash(read_tensors(Path(folder) / ADAPTER_WEIGHTS))]
    return hashlib.sha256(json.dumps(scale, sort_keys=True).encode()).hexdigest()


def _bare(model: ClampModel) -> nn.Module:
    base = model.encoder("symbolic").base
    if isinstance(base, peft.PeftModel):
        raise ValueError("the model has an adapter already")
    return base


def _adapted(model: ClampModel) -> peft.PeftModel:
    base = model.encoder("symbolic").base
    if not isinstance(base, peft.PeftModel):
        raise ValueError("the model has no adapter")
    return base
