"""A training of a few numbers, for tests of the loop; as a program, one that can be killed.

    python tiny_task.py FOLDER [even [BATCHES]]

It prints a line per step and writes FOLDER/model.safetensors and FOLDER/metrics.tsv. `even`
trains without dropout on batches that two processes can share evenly, BATCHES of them a step.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_corpus import training
from torch import nn

from clamp3.files import atomic_path
from clamp3.training.batches import Movable
from clamp3.training.loop import train

SETTINGS = training(epochs=4, batch_size=5, learning_rate=0.05, warmup_steps=6)


@dataclass
class Numbers(Movable):
    ids: list[str]
    inputs: torch.Tensor
    targets: torch.Tensor


class TinyTask:
    """Sums of 8 numbers, learned by a network with dropout and a part that is frozen."""

    name = "tiny"

    def __init__(self, inputs="a", validate=True, pieces=23, batch_size=5):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.3), nn.Tanh(), nn.Linear(16, 1))
        self.data = torch.randn(pieces, 8)
        self.inputs, self.validate, self.batch_size = inputs, validate, batch_size
        self.steps = 0

    def deal(self, epoch):
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(epoch))
        return [part.tolist() for part in order.split(self.batch_size) if len(part)]

    def collate(self, epoch, members):
        rows = self.data[members]
        return Numbers([f"piece {member}" for member in members], rows, rows.sum(1, keepdim=True))

    def loss(self, batch):
        self.steps += 1
        print("step", self.steps, flush=True)
        return nn.functional.mse_loss(self.model(batch.inputs), batch.targets)

    def evaluate(self, device):
        if not self.validate:
            return {}
        batch = self.collate(0, list(range(5))).to(device)
        error = nn.functional.mse_loss(self.model(batch.inputs), batch.targets).item()
        return {"loss": error, "root": error**0.5}


class Scored(TinyTask):
    """Evaluations give these figures, one after the other; `seen` are the weights at each."""

    def __init__(self, *figures):
        super().__init__()
        self.figures, self.seen = figures, []

    def evaluate(self, device):
        self.seen.append(weights_of(self))
        figure = self.figures[len(self.seen) - 1]
        return figure if isinstance(figure, dict) else {"loss": figure}


WORSE = (1.0, 2.0, 3.0, 4.0)


def weights_of(task):
    return {name: value.clone() for name, value in task.model.state_dict().items()}


def assert_now(task, weights):
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


class KilledError(Exception):
    """Stands for a kill, where a test needs no second process."""


def kill_at(monkeypatch, task, *calls):
    """Let these calls of a kind of task's loss be kills."""
    plain, done = task.loss, []

    def loss(self, batch):
        done.append(None)
        if len(done) in calls:
            raise KilledError
        return plain(self, batch)

    monkeypatch.setattr(task, "loss", loss)


class FailsAt(TinyTask):
    """Ends its process's work before a step is computed."""

    def __init__(self, step, **kwargs):
        super().__init__(**kwargs)
        self.at = step

    def loss(self, batch):
        if self.steps == self.at:
            raise KilledError
        return super().loss(batch)


def run(folder, task=None, settings=SETTINGS, seed=1):
    """Train and write; returns the history."""
    task = task or TinyTask()
    folder = Path(folder)

    def save(history):
        with atomic_path(folder / "model.safetensors") as draft:
            save_file(task.model.state_dict(), draft)

    return train(
        task,
        settings,
        metrics=folder / "metrics.tsv",
        resume=folder / "resume",
        seed=seed,
        save=save,
    )


def run_even(folder, accumulate=1):
    """A training that is the same for one process and for two, up to rounding."""
    task = TinyTask(pieces=24, batch_size=4)
    chosen = {"dropout": 0.0, "accumulate": int(accumulate)}
    return run(folder, task, SETTINGS.model_copy(update=chosen))


if __name__ == "__main__":
    run_even(sys.argv[1], *sys.argv[3:]) if sys.argv[2:3] == ["even"] else run(sys.argv[1])
