"""Batches made ahead of the training by worker processes, the same for any number of them."""

import logging
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from itertools import starmap

import torch
from torch.utils.data import DataLoader, Dataset

from clamp3.errors import Clamp3Error, DataError
from clamp3.logs import end_with_parent
from clamp3.training.task import Batch, Task

AHEAD = 4  # batches that each worker makes ahead
# Forked workers share the pieces with the training; a spawned one would need a copy of them all.
FORK = "fork" in multiprocessing.get_all_start_methods()


class BatchLoader:
    """The batches of a task on a device, in the order asked for.

    `workers` processes make them ahead; 0: this process, when they are asked for. A batch depends
    on epoch and members alone, so it is the same either way. Workers end with this process.
    """

    def __init__(self, task: Task, workers: int, device: torch.device):
        self.task, self.device = task, torch.device(device)
        self.waited_seconds = 0.0  # for batches, since the epoch began
        self._asked: list[tuple[int, list[int]]] = []
        self._loader = self._with_workers(workers) if workers else None

    def batches(self, epoch: int, dealt: Sequence[list[int]]) -> Iterator[Batch]:
        """Yield the batch of each of `dealt`, pieces of this epoch.

        Raises what making a batch raises, DataError when a worker process died.
        """
        self._asked[:] = [(epoch, members) for members in dealt]
        self.waited_seconds = 0.0
        made = iter(self._loader) if self._loader else starmap(self.task.collate, self._asked)
        for _ in dealt:
            begun = time.perf_counter()
            batch = self._next(made).to(self.device)
            self.waited_seconds += time.perf_counter() - begun
            yield batch

    def _next(self, made: Iterator) -> Batch:
        try:
            batch = next(made)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"{self.task.name}: a process that makes batches ahead was ended from outside, "
                "likely for want of memory; set workers lower, 0 for none"
            ) from error
        if isinstance(batch, Clamp3Error):
            raise batch
        return batch

    def _with_workers(self, workers: int) -> DataLoader:
        # Its threads do not survive a fork; where workers make batches they write the tokens too.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        return DataLoader(
            _Made(self.task),
            sampler=self._asked,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # else it draws from torch's own, and dropout changes
            multiprocessing_context="fork" if FORK else None,
        )


class _Made(Dataset):
    """Batches by epoch and members; a fault of the pieces is a value, raised where it is read."""

    def __init__(self, task: Task):
        self.task = task

    def __getitem__(self, asked: tuple[int, list[int]]) -> Batch | Clamp3Error:
        try:
            return self.task.collate(*asked)
        except Clamp3Error as error:
            return error


def _begin_worker(number: int) -> None:
    logging.getLogger().handlers.clear()  # the training's log is its own
    end_with_parent()
