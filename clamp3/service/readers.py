"""Processes that read uploaded files: a slow or deadly one costs its own request alone."""

import asyncio
import contextlib
import functools
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait

from clamp3.errors import Clamp3Error, DataError, FormatError

# The same processes that convert collections, one input at a time here.
from clamp3.processes import Worker

_TRIES = 2  # a death may be an accident (killed for another's memory), a second one is not
_START_SECONDS = 60


class Readers:
    """`count` processes that wait for inputs of `task`; one that takes too long is replaced."""

    def __init__(self, task: Callable, count: int, seconds: float):
        self._new_worker = functools.partial(Worker, task, seconds)
        self._count = count
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="readers")
        self._idle: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        self._crew: set[Worker] = set()
        self._closed = False
        for _ in range(count):
            self._idle.put(None)  # one to be started

    def start(self) -> None:
        """Start the processes now, not with the first inputs.

        Each gets None to warm up with, one after the other so that there is one for inputs; where
        there is but one, it is left to them.
        """
        for _ in range(self._count):
            self._idle.put(self._started(self._idle.get()))
        if self._count > 1:
            self._threads.submit(self._warm_up)

    async def result(self, value: object) -> object:
        """What `task` makes of the value; its exception is raised.

        Raises FormatError: `timed_out`, and `worker_died` where the process ended, twice.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._result, value)

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._closed = True
        for worker in tuple(self._crew):
            worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in tuple(self._crew):
            worker.end()
        self._crew.clear()

    def _result(self, value: object) -> object:
        how = ""
        for _ in range(_TRIES):
            worker = self._started(self._idle.get())
            try:
                found = _ask(worker, value)
            finally:
                alive = not worker.failure and not self._closed
                if not alive:
                    self._end(worker)
                self._idle.put(worker if alive else None)
            if worker.failure == "timed_out":
                reason = f"not read after {self._seconds:g} seconds"
                raise FormatError("timed_out", reason)
            if not worker.failure:
                return found
            how = worker.how_it_ended()
        reason = f"the process that read it ended, {_TRIES} times, the last by {how}"
        raise FormatError("worker_died", f"{reason}; out of memory?")

    def _warm_up(self) -> None:
        for _ in range(self._count):
            with contextlib.suppress(Clamp3Error):  # told to who sends an input
                self._result(None)

    def _started(self, worker: Worker | None) -> Worker:
        if worker is not None and worker.process.is_alive():
            return worker
        if worker is not None:
            self._end(worker)
        if self._closed:
            self._idle.put(None)
            raise DataError("the service ends")
        worker = self._new_worker()
        self._crew.add(worker)
        return worker

    def _end(self, worker: Worker) -> None:
        self._crew.discard(worker)
        worker.end()


def _ask(worker: Worker, value: object) -> object:
    """What the worker makes of the value; nothing where `failure` is set."""
    allowed = worker.seconds + (0 if worker.ready else _START_SECONDS)
    deadline = time.monotonic() + allowed
    worker.give(0, value)
    while not worker.failure:
        wait([worker.channel], max(0.0, deadline - time.monotonic()))
        try:
            found = [result for _, result in worker.results()]
        except Exception:
            worker.failure = "raised"  # it still has the input in hand
            raise
        if found:
            return found[0]
        if time.monotonic() >= deadline:
            worker.failure = "timed_out"
    return None
