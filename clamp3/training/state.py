"""Where a training stands, and the weights that belong to it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from clamp3.training.watch import LossWatch


@dataclass
class Progress:
    """Where a training stands; all of it is saved, and epochs and steps count from 0."""

    epoch: int = 0
    epoch_step: int = 0  # of the epoch, next to be computed
    step: int = 0  # of the training, steps done
    finished: bool = False
    rows: list[dict] = field(default_factory=list)  # of the metrics table
    losses: list[float] = field(default_factory=list)  # since the last row
    watch: LossWatch = field(default_factory=LossWatch)
    best_score: float | None = None  # more is better
    best_loss: float | None = None
    best_epoch: int | None = None
    kept_epoch: int = 0  # that the weights to go back to are of
    guarded: float | None = None  # the guard's figure before training
    stopped_by: str | None = None

    @classmethod
    def restored(cls, saved: dict) -> "Progress":
        """The same as it was saved by `dataclasses.asdict`."""
        return cls(**saved | {"watch": LossWatch(**saved["watch"])})


def copy_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same values in CPU memory, which training does not change."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


@torch.no_grad()
def put_weights(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    """Give each of the tensors `into` the value of its name."""
    for name, tensor in into.items():
        tensor.copy_(values[name])
