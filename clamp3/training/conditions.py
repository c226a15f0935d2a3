"""Under what a training computes: device, processes, threads, deterministic kernels, time."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType

from clamp3.config import TrainingConfig
from clamp3.errors import ConfigError

SAVE_SECONDS = 20.0  # what a kill may cost
SAVE_SHARE = 0.05  # of the time, at most, goes into saving


@contextmanager
def open_accelerator(settings: TrainingConfig, name: str, folder: Path) -> Iterator[Accelerator]:
    """Accelerate's devices and processes, forgotten after the block (its state is global).

    Figures logged to it go to the tracker of the settings, as a run called `name`; what the tracker
    keeps on disk goes to `folder`.

    Raises ConfigError where the precision needs a GPU, or the tracker is not installed.
    """
    if settings.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("precision: fp16 needs a GPU, and none is found; expected fp32 or bf16")
    mixed = "no" if settings.precision == "fp32" else settings.precision
    tracker = settings.tracker
    if tracker and LoggerType(tracker) not in get_available_trackers():
        raise ConfigError(f"tracker: {tracker} is not installed; pip install {tracker}")
    accelerator = Accelerator(mixed_precision=mixed, log_with=tracker, project_dir=folder)
    try:
        if tracker:
            _begin_tracking(accelerator, settings, name, folder)
        yield accelerator
    finally:
        for each in accelerator.trackers:
            each.finish()
        AcceleratorState._reset_state()


def _begin_tracking(
    accelerator: Accelerator, settings: TrainingConfig, name: str, folder: Path
) -> None:
    os.environ.setdefault("WANDB_MODE", "offline")  # nothing leaves this machine unasked
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: str(value) for key, value in settings.model_dump().items()}
    own = {"wandb": {"name": name, "dir": str(folder)}, "trackio": {"name": name}}
    accelerator.init_trackers("clamp3", config, init_kwargs=own)


@contextmanager
def fixed_conditions(threads: int) -> Iterator[None]:
    """Deterministic kernels where they exist, and a number of threads, for the block."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    fills = torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, changes nothing
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fills


class Clock:
    """Times for people and for saving; no result depends on them."""

    def __init__(self):
        self.saved = self.begun = time.monotonic()
        self.cost = 0.0  # seconds of the last saving
        self.pieces = self.steps = self.steps_left = 0

    def begin_epoch(self, steps_left: int) -> None:
        self.begun = time.monotonic()
        self.pieces, self.steps, self.steps_left = 0, 0, steps_left

    def count(self, pieces: int, steps: int) -> None:
        self.pieces += pieces
        self.steps += steps

    def save_is_due(self) -> bool:
        return time.monotonic() - self.saved >= max(SAVE_SECONDS, self.cost / SAVE_SHARE)

    @contextmanager
    def saving(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.saved = time.monotonic()
        self.cost = self.saved - begun

    def pace(self, waited_seconds: float = 0.0) -> str:
        seconds = max(1e-9, time.monotonic() - self.begun)
        left = (self.steps_left - self.steps) * seconds / max(1, self.steps)
        minutes, rest = divmod(round(left), 60)
        return (
            f"{self.pieces / seconds:.1f} pieces/s, about {minutes} min {rest:02d} s left, "
            f"waited {waited_seconds / seconds:.1%} for data"
        )
