"""Requests of several clients computed together, in a thread of its own."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Job = tuple[Item, Future]


class Batcher(Generic[Item, Result]):
    """Gathers what arrives within a few milliseconds, and computes it at once.

    `compute` gives a result or an exception for each item, in their order. What it raises itself is
    told to the item alone that it happens to: of several each is tried by itself. While a batch is
    computed, the next one gathers. `most`: items in a batch; `observe` is told how many there were.
    """

    def __init__(
        self,
        name: str,
        compute: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        wait_seconds: float,
        most: int,
        observe: Callable[[int], None] = lambda count: None,
    ):
        self._name = name
        self._compute = compute
        self._wait_seconds = wait_seconds
        self._most = most
        self._observe = observe
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def result(self, item: Item) -> Result:
        """What `compute` makes of the item. One whose request has ended before is left out."""
        return await asyncio.wrap_future(self.submit(item))

    def submit(self, item: Item) -> Future:
        """The result to come."""
        future: Future = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name}: closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._waiting.put((item, future))
        return future

    def close(self, wait_seconds: float = 5) -> None:
        """Compute nothing that has not begun; what waits is cancelled."""
        with self._lock:
            self._closed = True
            self._waiting.put(None)
            thread, self._thread = self._thread, None
        if thread:
            thread.join(wait_seconds)

    def _work(self) -> None:
        while True:
            batch, goes_on = self._gathered()
            batch = [job for job in batch if job[1].set_running_or_notify_cancel()]
            if batch:
                self._observe(len(batch))
                self._settle(batch)
            if not goes_on:
                return

    def _gathered(self) -> tuple[list[Job], bool]:
        """The next jobs, and whether there will be more; none where it has been closed."""
        batch: list[Job] = []
        deadline = None
        while len(batch) < self._most:
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                job = self._waiting.get(timeout=timeout)
            except queue.Empty:
                break
            if job is not None:
                batch.append(job)
            if self._closed:
                self._cancel(batch)
                return [], False
            deadline = deadline or time.monotonic() + self._wait_seconds
        return batch, True

    def _cancel(self, batch: list[Job]) -> None:
        for _, future in batch:
            future.cancel()
        while True:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                return
            if job:
                job[1].cancel()

    def _settle(self, batch: list[Job]) -> None:
        try:
            results = list(self._compute([item for item, _ in batch]))
            if len(results) != len(batch):
                raise RuntimeError(f"{self._name}: {len(results)} results of {len(batch)} items")
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    self._settle([job])
                return
            results = [error]
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
