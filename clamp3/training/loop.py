"""The training loop of every model: AdamW, warm-up, best weights, exact resume."""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from clamp3.config import TrainingConfig
from clamp3.errors import DataError
from clamp3.logs import progress
from clamp3.randomness import stable_hash
from clamp3.training.conditions import Clock, fixed_conditions, open_accelerator
from clamp3.training.curves import write_metrics
from clamp3.training.optimization import (
    learning_rate,
    make_optimizer,
    set_dropout,
    set_training_mode,
)
from clamp3.training.resume import ResumeFolder, digest

log = logging.getLogger(__name__)
STEPS_PER_ROW = 10  # of the metrics table


class Batch(Protocol):
    """What a task computes at once; `ids` name its pieces in error messages."""

    ids: list[str]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""


class Task(Protocol):
    """What is trained on what. Parameters that need no gradient stay as they are.

    `inputs` is a digest of all that the result depends on, besides training settings and seed.
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
    best_validation_loss: float | None
    trainable_parameters: int
    rows: list[dict]

    def summary(self) -> dict:
        """All but the rows, for a checkpoint's notes."""
        return {name: value for name, value in asdict(self).items() if name != "rows"}


@dataclass
class Progress:
    """Where a training stands; all of it is saved, and epochs and batches count from 0."""

    epoch: int = 0
    batch: int = 0  # of the epoch, next to be computed
    step: int = 0  # of the training, steps done
    finished: bool = False
    rows: list[dict] = field(default_factory=list)  # of the metrics table
    losses: list[float] = field(default_factory=list)  # since the last row
    best_loss: float | None = None
    best_epoch: int | None = None


def train(
    task: Task,
    settings: TrainingConfig,
    *,
    metrics: Path,
    resume: Path,
    seed: int,
    save: Callable[[History], None],
) -> History:
    """Train `task.model`, give it the weights to keep, call `save(history)`; returns the history.

    Best is the epoch with the smallest validation loss; without validation, or where
    `settings.keep` says so, it is the last. Writes the table `metrics` (one row per 10 steps and
    per evaluation, no times in it). The state goes to the folder `resume` at each epoch's end and
    about every 20 s; a training that was killed goes on from there and ends with the same weights,
    on CPU to the bit. The folder is deleted when `save` has returned. Under `accelerate launch`
    each process computes its share of a batch.

    Raises DataError naming the pieces of a batch whose loss is not finite, or when another
    process trains in `resume`; ConfigError when the device cannot do the precision.
    """
    key = digest(task.name, task.inputs, settings.model_dump(), seed, torch.__version__)
    with fixed_conditions(settings.threads), open_accelerator(settings.precision) as accelerator:
        folder = ResumeFolder(resume, key)
        if not accelerator.is_main_process:
            accelerator.wait_for_everyone()
            return _Run(task, settings, accelerator, seed, folder, Path(metrics)).finish()
        with folder.held():
            accelerator.wait_for_everyone()
            history = _Run(task, settings, accelerator, seed, folder, Path(metrics)).finish()
            save(history)
            folder.remove()
        return history


class _Objective(nn.Module):
    """The loss as a module's forward, which is what processes synchronise their gradients by."""

    def __init__(self, task: Task):
        super().__init__()
        self.model = task.model
        self._loss = task.loss

    def forward(self, batch: Batch) -> Tensor:
        return self._loss(batch)


class _Run:
    def __init__(
        self,
        task: Task,
        settings: TrainingConfig,
        accelerator: Accelerator,
        seed: int,
        folder: ResumeFolder,
        metrics: Path,
    ):
        self.task, self.settings, self.seed = task, settings, seed
        self.accelerator, self.folder, self.metrics = accelerator, folder, metrics
        self.learning = {n: p for n, p in task.model.named_parameters() if p.requires_grad}
        set_dropout(task.model, settings.dropout)
        self.objective, self.optimizer = accelerator.prepare(
            _Objective(task), make_optimizer(self.learning, settings)
        )
        self.progress = Progress()
        self.best: dict[str, Tensor] | None = None
        self.unchecked: list[tuple[list[str], Tensor]] = []
        self.clock = Clock()

    def finish(self) -> History:
        """Train to the end and restore the best weights."""
        every = sum(parameter.numel() for parameter in self.task.model.parameters())
        learning = sum(parameter.numel() for parameter in self.learning.values())
        log.info("%s: %d of %d parameters learn", self.task.name, learning, every)
        self._restore()
        while not self.progress.finished:
            self._epoch()
            self._end_epoch()
        if self.best is not None:
            _put(self.best, self.learning)
        self.task.model.eval()
        at = self.progress
        return History(at.epoch, at.step, at.best_epoch, at.best_loss, learning, at.rows)

    def _epoch(self) -> None:
        at, task = self.progress, self.task
        set_training_mode(task.model)
        processes = self.accelerator.num_processes
        dealt = [members for members in task.deal(at.epoch) if len(members) >= processes]
        if not dealt:
            raise DataError(f"{task.name}: no piece to train on")
        self.clock.begin_epoch(len(dealt) * self.settings.epochs - at.step)
        title = f"{task.name} {at.epoch + 1}/{self.settings.epochs}"
        for members in progress(dealt[at.batch :], title):
            self._step(members)
            if at.batch % STEPS_PER_ROW == 0:
                self._add_training_row()
            if self.clock.save_is_due():
                self._save()
                self._report("")

    def _step(self, members: list[int]) -> None:
        at, accelerator = self.progress, self.accelerator
        rank = accelerator.process_index
        share = members[rank :: accelerator.num_processes]
        # Dropout depends on the step alone, so there is no generator state to save.
        torch.manual_seed(stable_hash(self.seed, self.task.name, "step", at.step, rank))
        batch = self.task.collate(at.epoch, share).to(accelerator.device)
        rate = learning_rate(self.settings, at.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.objective(batch)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(self.learning.values(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # Reading the loss would make a GPU wait: it is looked at when a row is due.
        self.unchecked.append((batch.ids, loss.detach()))
        at.batch += 1
        at.step += 1
        self.clock.count(len(members))

    def _end_epoch(self) -> None:
        at = self.progress
        self._add_training_row()
        self.task.model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            figures = self.task.evaluate(self.accelerator.device)
        if figures:
            self._add_row("validation", figures)
            self._keep_best(figures["loss"])
        said = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        self._report(f"; validation{said[1:]}" if figures else "")
        at.epoch += 1
        at.batch = 0
        patience = self.settings.patience_epochs
        stale = at.best_epoch is not None and patience and at.epoch - at.best_epoch >= patience
        at.finished = bool(stale) or at.epoch == self.settings.epochs
        self._save()
        if self.accelerator.is_main_process:
            write_metrics(self.metrics, at.rows)

    def _keep_best(self, loss: float) -> None:
        at = self.progress
        if not math.isfinite(loss):
            raise DataError(
                f"{self.task.name}: validation loss is {loss} after epoch {at.epoch + 1}"
            )
        if at.best_loss is None or loss < at.best_loss:
            at.best_loss, at.best_epoch = loss, at.epoch + 1
            if self.settings.keep == "best":
                self.best = _copy(self.learning)

    def _add_training_row(self) -> None:
        self._check_losses()
        if self.progress.losses:
            mean = sum(self.progress.losses) / len(self.progress.losses)
            self._add_row("train", {"loss": mean})
            self.progress.losses.clear()

    def _add_row(self, split: str, figures: dict[str, float]) -> None:
        at = self.progress
        rate = learning_rate(self.settings, max(0, at.step - 1))
        at.rows.append(
            {"step": at.step, "epoch": at.epoch + 1, "split": split, "loss": figures["loss"]}
            | {"learning_rate": rate}
            | figures
        )

    def _check_losses(self) -> None:
        for ids, loss in self.unchecked:
            value = loss.item()
            if not math.isfinite(value):
                raise DataError(
                    f"{self.task.name}: loss is {value} in epoch {self.progress.epoch + 1} for the "
                    f"batch {', '.join(ids)}; expected a finite number. Likely the learning rate "
                    f"({self.settings.learning_rate}) is too high, or one of these holds no numbers"
                )
            self.progress.losses.append(value)
        self.unchecked.clear()

    def _save(self) -> None:
        self._check_losses()
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        with self.clock.saving():
            self.folder.save(
                {
                    "progress": asdict(self.progress),
                    "weights": _copy(self.learning),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": scaler.state_dict() if scaler else None,
                    "best": self.best,
                }
            )

    def _restore(self) -> None:
        state = self.folder.load()
        self.accelerator.wait_for_everyone()
        if state is None:
            return
        self.progress = Progress(**state["progress"])
        self.best = state["best"]
        _put(state["weights"], self.learning)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        log.info("%s: going on after step %d", self.task.name, self.progress.step)

    def _report(self, said: str) -> None:
        at = self.progress
        losses = at.losses or [row["loss"] for row in at.rows if row["split"] == "train"][-1:]
        log.info(
            "%s: epoch %d of %d, step %d, loss %.4g%s; %s",
            *(self.task.name, at.epoch + 1, self.settings.epochs, at.step),
            *(sum(losses) / max(1, len(losses)), said, self.clock.pace()),
        )


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def _put(values: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])
