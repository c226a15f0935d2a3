"""A watch over what a training could spoil: a figure of data that it does not learn from."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


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
