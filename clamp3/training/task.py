"""What the training loop asks of a task, and what it says of a finished training."""

from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class Batch(Protocol):
    """What a task computes at once; `ids` name its pieces in error messages."""

    ids: list[str]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""


class Task(Protocol):
    """What is trained on what. Parameters that need no gradient stay as they are.

    `inputs` is a digest of all that the result depends on, besides training settings and seed.
    A task may also have a `guard` (see watch.py), which ends a training that spoils other things;
    and where its loss is a mean, `terms(batch)`: over how many terms. Several processes then train
    what one would, however unequal their shares. A loss over all processes needs none.
    """

    name: str
    model: nn.Module
    inputs: str

    def deal(self, epoch: int) -> list[list[int]]:
        """The pieces of each batch of an epoch, the same at every call."""

    def collate(self, epoch: int, members: list[int]) -> Batch:
        """The batch of these pieces in this epoch, the same at every call."""

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to make smaller."""

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Figures on the validation pieces, `loss` among them; empty without such pieces."""


@dataclass(frozen=True)
class History:
    """What is to say of a finished training; epochs count from 1, `rows` are those of the table."""

    epochs: int
    steps: int
    best_epoch: int | None  # None: trained without validation
    best_validation_loss: float | None  # of the best epoch
    trainable_parameters: int
    rows: list[dict]
    kept_epoch: int  # whose weights the model has now; 0: those it began with
    stopped_by: str | None  # patience or guard; None: trained to the end

    def summary(self) -> dict:
        """All but the rows, for a checkpoint's notes."""
        return {name: value for name, value in asdict(self).items() if name != "rows"}
