"""What of a model learns, and how fast."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from clamp3.config import TrainingConfig
from clamp3.errors import ConfigError


def make_optimizer(
    learning: dict[str, Tensor], settings: TrainingConfig, rates: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over the parameters that learn.

    `rates` says what the learning rate of some is multiplied by; each group has its `factor`.

    Differs: biases and normalisation scales do not decay (in the originals all parameters do).
    """
    if not learning:
        raise ConfigError("every part of the model is frozen: nothing to train")
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in learning.items():
        decay = settings.weight_decay if parameter.ndim >= 2 else 0.0
        groups.setdefault((decay, (rates or {}).get(name, 1.0)), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": group, "weight_decay": decay, "factor": factor}
            for (decay, factor), group in groups.items()
        ],
        lr=settings.learning_rate,
        fused=True,  # on a CPU six times as fast as without, and as reproducible
    )


def learning_rate(settings: TrainingConfig, step: int, total_steps: int) -> float:
    """The rate of a step (from 0) of `total_steps`.

    It rises evenly over the warm-up; then it stays, or falls along a half cosine that would reach 0
    with the step after the last.

    Differs: the first step already learns (the originals' schedule begins at 0).
    """
    warmup = settings.warmup_steps
    if step < warmup or settings.schedule == "constant":
        return settings.learning_rate * min(1.0, (step + 1) / max(1, warmup))
    done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def freeze(module: nn.Module) -> None:
    """Make every parameter of a module stay as it is."""
    for parameter in module.parameters():
        parameter.requires_grad = False


def set_dropout(model: nn.Module, share: float) -> None:
    """Make every dropout of a model drop this share, in attention too; adapters keep their own."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and "lora_" not in name:
            module.p = share


def set_training_mode(model: nn.Module) -> None:
    """Training mode for the parts of a model that learn; the others compute as in evaluation.

    Differs: in the originals frozen towers run with dropout, by an oversight.
    """
    model.train()
    for part in model.children():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def checkpoint_gradients(model: nn.Module) -> None:
    """Make the transformers of a model forget activations and compute them again going back.

    Raises ConfigError where the model has no such part.
    """
    # The outermost ones: each reaches its own parts.
    able: list[nn.Module] = []
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing_enable"):
            inside = any(module in set(outer.modules()) for outer in able)
            able += [] if inside else [module]
    if not able:
        raise ConfigError("gradient_checkpointing: no part of this model can; set it to false")
    for module in able:
        name = "activation_checkpointing_enable"  # the new name of the other
        enable = getattr(module, name, module.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
