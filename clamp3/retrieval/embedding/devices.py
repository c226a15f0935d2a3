"""Groups of pieces computed on one device or several: whoever is free takes the next group."""

import multiprocessing
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

from clamp3.errors import ConfigError
from clamp3.processes import cpu_count

Question = TypeVar("Question")
Answer = TypeVar("Answer")


def on_devices(
    groups: Iterable[Question], build: Callable[[str], Callable], devices: Sequence[str]
) -> Iterator[tuple[Question, Answer]]:
    """Yield each group with what was computed of it, in order.

    `build(device)` makes what computes a group; it must be picklable. For each device a process is
    started that builds its own (a device may be named twice); CPU processes share the cores. At
    most one group more than there are devices is in memory.

    Raises what the computation raises, and ConfigError where a process ends.
    """
    threads = max(1, cpu_count() // len(devices)) if _all_cpu(devices) else None
    crew = [_Process(build, device, threads) for device in devices]
    idle: queue.Queue[_Process] = queue.Queue()
    for process in crew:
        idle.put(process)

    def compute(group: Question) -> Answer:
        process = idle.get()
        try:
            return process.ask(group)
        finally:
            idle.put(process)

    executor = ThreadPoolExecutor(len(crew))
    try:
        under_way: deque = deque()
        for group in groups:
            under_way.append((group, executor.submit(compute, group)))
            while len(under_way) > len(crew) or (under_way and under_way[0][1].done()):
                first, answer = under_way.popleft()
                yield first, answer.result()
        for group, answer in under_way:
            yield group, answer.result()
    finally:
        for process in crew:
            process.end()
        executor.shutdown(cancel_futures=True)


def _all_cpu(devices: Sequence[str]) -> bool:
    return all(device == "cpu" for device in devices)


class _Process:
    """A process that answers one question at a time."""

    def __init__(self, build: Callable[[str], Callable], device: str, threads: int | None):
        context = multiprocessing.get_context("spawn")
        self._channel, theirs = context.Pipe()
        self._device = device
        self._process = context.Process(
            target=_serve, args=(build, device, threads, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def ask(self, question: object) -> object:
        try:
            self._channel.send(question)
            answer = self._channel.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            raise ConfigError(
                f"the process that computes on {self._device} has ended (exit status "
                f"{self._process.exitcode}); was it killed for lack of memory? What is done stays"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._channel.close()


def _serve(
    build: Callable[[str], Callable], device: str, threads: int | None, channel: Connection
) -> None:
    """Answer each question until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ending this process is the starter's business
    if threads:
        import torch

        torch.set_num_threads(threads)
    compute = None
    while True:
        try:
            question = channel.recv()
        except (EOFError, OSError):
            return
        try:
            compute = compute or build(device)
            answer = compute(question)
        except Exception as error:
            answer = error
        channel.send(answer)
