"""The training loop of every model: AdamW, warm-up, best weights, exact resume."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from clamp3.config import TrainingConfig
from clamp3.errors import ConfigError, DataError
from clamp3.logs import progress
from clamp3.randomness import stable_hash
from clamp3.training.conditions import Clock, fixed_conditions, open_accelerator
from clamp3.training.curves import write_metrics
from clamp3.training.kept_weights import KeptWeights
from clamp3.training.loader import BatchLoader
from clamp3.training.optimization import (
    checkpoint_gradients,
    learning_rate,
    make_optimizer,
    set_dropout,
    set_training_mode,
)
from clamp3.training.resume import ResumeFolder, digest
from clamp3.training.state import Progress, copy_weights, put_weights
from clamp3.training.task import Batch, History, Task
from clamp3.training.two_pass import backward_in_chunks
from clamp3.training.watch import BadLoss, bad_loss_path

log = logging.getLogger(__name__)
STEPS_PER_ROW = 10  # of the metrics table


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

    Best is the epoch with the best validation (`settings.evaluate_by`); without validation, or
    where `settings.keep` says so, it is the last. A guard of the task is measured before training,
    too; one that stops it leaves no weights that did not pass, if need be those of the start.
    Writes the table `metrics` (one row per 10 steps and per evaluation, no times in it). The state
    goes to the folder `resume` at each epoch's end and about every 20 s; a training that was killed
    goes on from there and ends with the same weights, on CPU to the bit. The folder is deleted when
    `save` has returned; weights of single epochs, and what a tracker writes, stay beside it in
    `<resume>-weights` and `<resume>-tracker`.
    Under `clamp3.training.launch` each process computes its share of a batch, and the first writes.

    Raises DataError naming the pieces of a batch whose loss is not finite or explodes (they are in
    `<metrics>.bad-loss.json` too), or when another process trains in `resume`; ConfigError when the
    device cannot do the precision, or the tracker is not installed.
    """
    # What changes nothing but rounding (and dropout) may change from one run to the next.
    values = settings.model_dump(
        exclude={"tracker", "keep_checkpoints", "workers", "processes", "nodes"}
    )
    key = digest(task.name, task.inputs, values, seed, torch.__version__)
    tracked = _beside(resume, "tracker")
    with (
        fixed_conditions(settings.threads),
        open_accelerator(settings, task.name, tracked) as accelerator,
    ):
        folder = ResumeFolder(resume, key)
        first = accelerator.is_main_process
        with folder.held() if first else nullcontext():
            accelerator.wait_for_everyone()
            history = _Run(task, settings, accelerator, seed, folder, Path(metrics)).finish()
            if first:
                save(history)
                folder.remove()
        return history


class _Objective(nn.Module):
    """The loss as a module's forward, which is what processes synchronise their gradients by."""

    def __init__(self, task: Task, *, compiled: bool = False):
        super().__init__()
        self.model = task.model
        self._loss = torch.compile(task.loss) if compiled else task.loss

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
        if settings.gradient_checkpointing:
            checkpoint_gradients(task.model)
        self.objective, self.optimizer = accelerator.prepare(
            _Objective(task, compiled=settings.compile),
            make_optimizer(self.learning, settings, getattr(task, "rates", {})),
        )
        self.progress = Progress()
        self.guard = getattr(task, "guard", None)
        self.best: dict[str, Tensor] | None = None  # to go back to
        self.unchecked: list[tuple[int, list[int], Tensor]] = []  # step, pieces, loss
        self.kept = KeptWeights(_beside(folder.folder, "weights"), settings.keep_checkpoints)
        self.clock = Clock()
        self.loader = BatchLoader(task, settings.workers, accelerator.device)
        steps = len(self._deal(0))
        self.total_steps = settings.steps or settings.epochs * steps
        self.epochs = math.ceil(self.total_steps / steps)

    def finish(self) -> History:
        """Train to the end and restore the best weights."""
        every = sum(parameter.numel() for parameter in self.task.model.parameters())
        learning = sum(parameter.numel() for parameter in self.learning.values())
        log.info("%s: %d of %d parameters learn", self.task.name, learning, every)
        self._restore()
        self._begin()
        while not self.progress.finished:
            self._epoch()
            self._end_epoch()
        if self.best is not None:
            put_weights(self.best, self.learning)
        self.task.model.eval()
        at = self.progress
        if not any(row["split"] == "validation" for row in at.rows):
            log.warning("%s: no piece to validate on; the last weights are kept", self.task.name)
        kept = at.epoch if self.best is None else at.kept_epoch
        best = (at.best_epoch, at.best_loss)
        return History(at.epoch, at.step, *best, learning, at.rows, kept, at.stopped_by)

    def _begin(self) -> None:
        """Measure what is guarded while nothing is learned yet."""
        at, guard = self.progress, self.guard
        if guard is None or at.guarded is not None:
            return
        figures = self._figures(guard.measure)
        at.guarded = figures[guard.figure]
        self._add_row("guard", guard.judged(figures, at.guarded))
        log.info(
            "%s: the guard's %s is %.4g before training", self.task.name, guard.figure, at.guarded
        )
        if guard.stops:
            self.best = copy_weights(self.learning)

    def _deal(self, epoch: int) -> list[list[list[int]]]:
        """The batches of each step of an epoch; every process has a share in each."""
        processes, size = self.accelerator.num_processes, self.settings.accumulate
        dealt = [members for members in self.task.deal(epoch) if len(members) >= processes]
        if not dealt:
            raise DataError(f"{self.task.name}: no piece to train on")
        return [dealt[start : start + size] for start in range(0, len(dealt), size)]

    def _epoch(self) -> None:
        at, task = self.progress, self.task
        set_training_mode(task.model)
        steps = self._deal(at.epoch)[at.epoch_step :]
        if self.settings.steps:
            steps = steps[: self.settings.steps - at.step]
        self.clock.begin_epoch(self.total_steps - at.step)
        bar = progress(steps, f"{task.name} {at.epoch + 1}/{self.epochs}")
        made = self.loader.batches(
            at.epoch, [self._share(members) for step in steps for members in step]
        )
        for batches in bar:
            self._step(batches, made)
            if at.epoch_step % STEPS_PER_ROW == 0:
                self._add_training_row()
                bar.set_postfix(loss=f"{at.rows[-1]['loss']:.4g}")
            if self.clock.save_is_due():
                self._save()
                self._report("")

    def _step(self, batches: list[list[int]], made: Iterator[Batch]) -> None:
        at, accelerator = self.progress, self.accelerator
        # Dropout depends on the step alone, so there is no generator state to save.
        rank = accelerator.process_index
        torch.manual_seed(stable_hash(self.seed, self.task.name, "step", at.step, rank))
        rate = learning_rate(self.settings, at.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        accelerator.gradient_accumulation_steps = len(batches)  # what a loss is divided by
        for members in batches:
            last = members is batches[-1]
            with nullcontext() if last else accelerator.no_sync(self.objective):
                loss = self._backward(next(made))
            # Reading the loss would make a GPU wait: it is looked at when a row is due.
            self.unchecked.append((at.step, members, accelerator.reduce(loss, "mean")))
        accelerator.clip_grad_norm_(self.learning.values(), self.settings.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        at.epoch_step += 1
        at.step += 1
        self.clock.count(sum(map(len, batches)), steps=1)

    def _share(self, members: list[int]) -> list[int]:
        """This process's share of a batch."""
        return members[self.accelerator.process_index :: self.accelerator.num_processes]

    def _backward(self, batch: Batch) -> Tensor:
        """The loss of a batch, whose gradients are added to those of the parameters."""
        size = getattr(self.task, "chunk", None)
        if size is not None:
            return backward_in_chunks(self.task, self.objective, batch, size, self.accelerator)
        loss = self.objective(batch) * self._weight(batch)
        self.accelerator.backward(loss)
        return loss.detach()

    def _weight(self, batch: Batch) -> Tensor | float:
        """What makes the mean of the processes' losses that of one process with the whole batch."""
        terms, processes = getattr(self.task, "terms", None), self.accelerator.num_processes
        if terms is None or processes == 1:
            return 1.0
        own = torch.tensor(float(terms(batch)), device=self.accelerator.device)
        return own * processes / self.accelerator.reduce(own, "sum").clamp(min=1)

    def _end_epoch(self) -> None:
        at = self.progress
        self._add_training_row()
        figures = self._figures(self.task.evaluate)
        if figures:
            self._add_row("validation", figures)
        passed = self._passes_guard()
        is_best = passed and bool(figures) and self._is_best(figures)
        by_figures = self.settings.keep == "best" and bool(figures)
        if is_best if by_figures else passed and self.best is not None:
            self.best, at.kept_epoch = copy_weights(self.learning), at.epoch + 1
        said = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        self._report(f"; validation{said[1:]}" if figures else "")
        at.epoch += 1
        at.epoch_step = 0
        patience = self.settings.patience_epochs
        stale = at.best_epoch is not None and patience and at.epoch - at.best_epoch >= patience
        ended = at.step if self.settings.steps else at.epoch
        ended = ended >= (self.settings.steps or self.settings.epochs)
        at.stopped_by = "guard" if not passed else "patience" if stale and not ended else None
        at.finished = ended or at.stopped_by is not None
        if self.accelerator.is_main_process:
            self.kept.add(at.epoch, self.learning, is_best=is_best)
        self._save()
        if self.accelerator.is_main_process:
            write_metrics(self.metrics, at.rows)

    def _figures(self, measure: Callable[[torch.device], dict[str, float]]) -> dict[str, float]:
        """What is measured of the model, the same in every process."""
        self.task.model.eval()
        with torch.no_grad(), self.accelerator.autocast():
            figures = measure(self.accelerator.device)
        return broadcast_object_list([figures])[0]

    def _passes_guard(self) -> bool:
        """Whether the guard, if there is one, lets the training go on with its weights."""
        at, guard = self.progress, self.guard
        if guard is None:
            return True
        found = guard.judged(self._figures(guard.measure), at.guarded)
        self._add_row("guard", found)
        if not found["passed"]:
            said = guard.message(found, at.guarded)
            log.warning("%s: after epoch %d %s", self.task.name, at.epoch + 1, said)
        return bool(found["passed"]) or not guard.stops

    def _is_best(self, figures: dict[str, float]) -> bool:
        """Whether no evaluation before was as good."""
        at, name = self.progress, self.settings.evaluate_by
        if name not in figures:
            raise ConfigError(
                f"{self.task.name}: evaluate_by: {name}; expected one of {', '.join(figures)}"
            )
        if not math.isfinite(figures[name]):
            raise DataError(
                f"{self.task.name}: validation {name} is {figures[name]} after epoch {at.epoch + 1}"
            )
        score = -figures[name] if name == "loss" else figures[name]
        if at.best_score is not None and score <= at.best_score:
            return False
        at.best_score, at.best_loss, at.best_epoch = score, figures["loss"], at.epoch + 1
        return True

    def _add_training_row(self) -> None:
        self._check_losses()
        if self.progress.losses:
            mean = sum(self.progress.losses) / len(self.progress.losses)
            self._add_row("train", {"loss": mean})
            self.progress.losses.clear()

    def _add_row(self, split: str, figures: dict[str, float]) -> None:
        at = self.progress
        epoch = at.epoch + 1 if at.step else 0  # what is measured before training
        rate = learning_rate(self.settings, max(0, at.step - 1), self.total_steps)
        self.accelerator.log({f"{split}/{n}": value for n, value in figures.items()}, at.step)
        at.rows.append(
            {"step": at.step, "epoch": epoch, "split": split, "loss": figures["loss"]}
            | {"learning_rate": rate}
            | figures
        )

    def _check_losses(self) -> None:
        at = self.progress
        for step, members, loss in self.unchecked:
            value = loss.item()
            warm = step >= self.settings.warmup_steps
            limit = at.watch.limit(self.settings.explosion_factor if warm else None)
            if not math.isfinite(value) or value > limit:
                self._stop(step, members, value, limit)
            at.watch.add(value)
            at.losses.append(value)
        self.unchecked.clear()

    def _stop(self, step: int, members: list[int], loss: float, limit: float) -> NoReturn:
        epoch, rate = self.progress.epoch, self.settings.learning_rate
        ids = self.task.collate(epoch, members).ids  # of all processes
        bad = BadLoss(self.task.name, epoch + 1, step + 1, loss, limit, rate, ids)
        if self.accelerator.is_main_process:
            bad.write(bad_loss_path(self.metrics))
        raise bad.error()

    def _save(self) -> None:
        self._check_losses()
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        with self.clock.saving():
            self.folder.save(
                {
                    "progress": asdict(self.progress),
                    "weights": copy_weights(self.learning),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": scaler.state_dict() if scaler else None,
                    "best": self.best,
                }
            )

    def _restore(self) -> None:
        state = self.folder.load()
        self.accelerator.wait_for_everyone()
        if state is None:
            if self.accelerator.is_main_process:
                bad_loss_path(self.metrics).unlink(missing_ok=True)
                self.kept.clear()
            return
        self.progress = Progress.restored(state["progress"])
        self.best = state["best"]
        put_weights(state["weights"], self.learning)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        log.info("%s: going on after step %d", self.task.name, self.progress.step)
        if self.accelerator.is_main_process:  # Snakemake removed it; of a finished one no row comes
            write_metrics(self.metrics, self.progress.rows)

    def _report(self, said: str) -> None:
        at = self.progress
        losses = at.losses or [row["loss"] for row in at.rows if row["split"] == "train"][-1:]
        log.info(
            "%s: epoch %d of %d, step %d, loss %.4g%s; %s",
            *(self.task.name, at.epoch + 1, self.epochs, at.step),
            *(sum(losses) / max(1, len(losses)), said, self.clock.pace(self.loader.waited_seconds)),
        )


def _beside(folder: Path, what: str) -> Path:
    return Path(folder).with_name(f"{Path(folder).name}-{what}")
