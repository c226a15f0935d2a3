"""Batches that other processes make."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_task
import torch
from tiny_task import SETTINGS, TinyTask, run

from clamp3.errors import DataError
from clamp3.training.loader import BatchLoader


class Faulty(TinyTask):
    """A batch that cannot be made, and one whose maker dies."""

    def collate(self, epoch, members):
        if epoch == 1 and 3 in members:
            raise DataError("piece 3: no music")
        if epoch == 2 and 3 in members:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().collate(epoch, members)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_the_same_batches_in_order(workers):
    task = TinyTask()
    alone, loader = BatchLoader(task, 0, "cpu"), BatchLoader(task, workers, "cpu")
    for epoch in (0, 1, 5):
        dealt = task.deal(epoch)[epoch % 2 :]  # from the middle of an epoch as well
        pairs = zip(loader.batches(epoch, dealt), alone.batches(epoch, dealt), strict=True)
        for made, expected in pairs:
            assert made.ids == expected.ids
            assert torch.equal(made.inputs, expected.inputs)
    assert list(loader.batches(0, [])) == []
    assert loader.waited_seconds >= 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_fault_of_the_pieces_is_told_as_it_is(workers):
    loader = BatchLoader(Faulty(), workers, "cpu")
    with pytest.raises(DataError, match=r"^piece 3: no music$"):
        list(loader.batches(1, [[1, 2], [3, 4]]))


def test_a_worker_that_dies_is_one_error():
    loader = BatchLoader(Faulty(), 1, "cpu")
    with pytest.raises(DataError, match="tiny: a process that makes batches ahead was ended"):
        list(loader.batches(2, [[1, 2], [3, 4]]))


def test_a_training_with_workers_ends_with_the_same_bytes(tmp_path):
    for workers in (0, 2):
        settings = SETTINGS.model_copy(update={"workers": workers, "epochs": 2})
        run(tmp_path / str(workers), TinyTask(), settings)
    for name in ("model.safetensors", "metrics.tsv"):
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from tiny_task import TinyTask
from clamp3.training.loader import BatchLoader
task = TinyTask()
loader = BatchLoader(task, 2, "cpu")
batches = loader.batches(0, task.deal(0))
next(batches)
print(*(worker.pid for worker in loader._loader._iterator._workers), flush=True)
time.sleep(60)
"""


def test_workers_end_with_a_training_that_is_killed():
    code = SCRIPT.format(tests=str(Path(tiny_task.__file__).parent))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        workers = [int(pid) for pid in run.stdout.readline().split()]
        run.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.1)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
