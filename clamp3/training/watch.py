"""What a training is stopped for: a loss out of bounds, or a figure that falls too far."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch

from clamp3.errors import DataError
from clamp3.files import write_json

RECENT = 100  # losses that the median is of
ENOUGH = 10  # fewer losses say nothing


@dataclass
class LossWatch:
    """The losses of late; part of a training's saved state.

    A loss explodes when it is above `factor` times the median of the last 100, and also above the
    median of the first 10: near its end a training's losses are small, and a hard batch may be many
    times as large as the others without any fault.
    """

    recent: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)

    def limit(self, factor: float | None) -> float:
        """The largest loss that is no explosion; infinite without a factor or with few losses."""
        if factor is None or len(self.recent) < ENOUGH:
            return math.inf
        return max(factor * abs(median(self.recent)), abs(median(self.first)))

    def add(self, loss: float) -> None:
        """Take a loss as one of the usual ones."""
        if len(self.first) < ENOUGH:
            self.first.append(loss)
        self.recent = [*self.recent[1 - RECENT :], loss]


@dataclass(frozen=True)
class BadLoss:
    """A loss to stop at, where it came up, and the pieces it was computed on."""

    task: str
    epoch: int  # from 1
    step: int  # from 1
    loss: float
    limit: float  # infinite: any finite loss would do
    learning_rate: float
    ids: Sequence[str]

    def error(self) -> DataError:
        """What to tell the user."""
        expected, cause = "a finite number", "one of these holds no numbers"
        if math.isfinite(self.loss):
            expected = f"at most {self.limit:.4g} after the losses before it (explosion_factor)"
            cause = "one of these is damaged"
        return DataError(
            f"{self.task}: loss is {self.loss:.4g} in epoch {self.epoch} for the batch "
            f"{', '.join(self.ids)}; expected {expected}. Likely the learning rate "
            f"({self.learning_rate:g}) is too high, or {cause}"
        )

    def write(self, path: Path) -> None:
        """The same as a JSON file."""
        place = {"task": self.task, "epoch": self.epoch, "step": self.step}
        values = {"loss": repr(self.loss), "limit": repr(self.limit)}  # JSON knows no nan and inf
        rate = {"learning_rate": self.learning_rate}
        write_json(path, place | values | rate | {"ids": list(self.ids)})


def bad_loss_path(metrics: Path) -> Path:
    """Where a bad loss is written down: beside the table of figures."""
    return Path(metrics).with_suffix(".bad-loss.json")


@dataclass(frozen=True)
class Guard:
    """What is measured before a training and after each epoch, and how far it may fall.

    `measure` gives figures on a device, `loss` among them and `figure`: above 0, more is better.
    """

    measure: Callable[[torch.device], dict[str, float]]
    figure: str
    max_fall: float  # as a share of the figure before training
    stops: bool  # a training that lets it fall further; otherwise it is warned of

    def judged(self, figures: dict[str, float], before: float) -> dict[str, float]:
        """The figures, with `fall`, the share of `before` that is lost, and `passed`, 1 or 0."""
        fall = 1 - figures[self.figure] / before
        return figures | {"fall": fall, "passed": int(fall <= self.max_fall)}

    def message(self, judged: dict[str, float], before: float) -> str:
        """What is to say of figures that did not pass."""
        end = ": training ends, and these weights are not kept" if self.stops else ""
        return (
            f"the guard's {self.figure} is {judged[self.figure]:.4g}, {judged['fall']:.1%} less "
            f"than the {before:.4g} before training; allowed are {self.max_fall:.1%}{end}"
        )
