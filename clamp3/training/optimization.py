"""What of a model learns, and how fast."""

import torch
from torch import Tensor, nn

from clamp3.config import TrainingConfig
from clamp3.errors import ConfigError


def make_optimizer(learning: dict[str, Tensor], settings: TrainingConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that learn.

    Differs: biases and normalisation scales do not decay (in the originals all parameters do).
    """
    if not learning:
        raise ConfigError("every part of the model is frozen: nothing to train")
    groups = [
        {"params": [p for p in learning.values() if p.ndim >= 2]},
        {"params": [p for p in learning.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )


def learning_rate(settings: TrainingConfig, step: int) -> float:
    """The rate of a step (from 0): rising evenly over the warm-up, then constant.

    Differs: the first step already learns (the originals' schedule begins at 0).
    """
    return settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))


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
