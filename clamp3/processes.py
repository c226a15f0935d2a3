"""A task over many inputs in processes of their own: a hang or a death costs one input."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait

from clamp3.errors import DataError, FormatError

# A symphony needs a quarter of it; beyond it a worker gets a MemoryError and the machine lives.
_MEMORY_BYTES = 4 * 2**30
_TRIES = 2  # a death may be an accident (killed for another's memory), a second one is not
_STARTS = 4  # so many processes in a row that end while they start: none ever will
_START = -1
_FAREWELL_SECONDS = 5
_IN_HAND = 2  # so that a worker need not wait for the next input


def cpu_count() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_in_processes(
    task: Callable, inputs: Sequence, *, workers: int, seconds: float
) -> Iterator[tuple[int, object]]:
    """Yield (index, result) for each input as they get done; the result may be a FormatError.

    `timed_out`: longer than `seconds`. `worker_died`: its process ended, twice. Any other exception
    of `task` is raised here, and DataError if no process can be started. All processes have ended
    when the iterator has, even if it is closed.
    """
    waiting = deque(range(len(inputs)))
    deaths: Counter[int] = Counter()  # of inputs; under _START, of processes yet without one
    crew: list[Worker] = []
    try:
        while waiting or any(worker.in_hand for worker in crew):
            while len(crew) < min(workers, len(crew) + len(waiting)):
                crew.append(Worker(task, seconds))
            _hand_out(crew, waiting, inputs)
            for worker in _wait(crew):
                yield from worker.results()
                if worker.failure:
                    crew.remove(worker)
                    yield from _bury(worker, waiting, deaths)
    finally:
        for worker in crew:
            worker.end()


def _hand_out(crew: list["Worker"], waiting: deque[int], inputs: Sequence) -> None:
    """Fill the workers' hands evenly: nobody gets a second input before all have one."""
    for count in range(1, _IN_HAND + 1):
        for worker in crew:
            while waiting and len(worker.in_hand) < count:
                worker.give(waiting[0], inputs[waiting[0]])
                waiting.popleft()


def _wait(crew: list["Worker"]) -> list["Worker"]:
    """The workers with something to tell, or over their time."""
    soonest = min(worker.deadline for worker in crew)
    timeout = None if soonest == float("inf") else max(0, soonest - time.monotonic())
    ready = set(wait([worker.channel for worker in crew], timeout))
    now = time.monotonic()
    return [w for w in crew if w.channel in ready or w.deadline <= now]


def _bury(
    worker: "Worker", waiting: deque[int], deaths: Counter[int]
) -> Iterator[tuple[int, object]]:
    """Put back what a dead worker had in hand, but for the input that it died of."""
    worker.end()
    deaths[_START] = 0 if worker.ready else deaths[_START] + 1
    if deaths[_START] >= _STARTS:
        how = worker.how_it_ended()
        raise DataError(
            f"worker processes end before their first input (the last by {how}); out of memory?"
        )
    if worker.ready and worker.in_hand:
        index = worker.in_hand.popleft()
        deaths[index] += 1
        if worker.failure == "timed_out":
            reason = f"not done after {worker.seconds:g} seconds"
            yield index, FormatError(worker.failure, reason)
        elif deaths[index] >= _TRIES:
            reason = f"its process ended, {_TRIES} times, the last by {worker.how_it_ended()}"
            yield index, FormatError(worker.failure, f"{reason}; out of memory?")
        else:
            worker.in_hand.appendleft(index)
    waiting.extendleft(reversed(worker.in_hand))


class Worker:
    """A process, the way to it, and the indices of what it has in hand, first in front."""

    def __init__(self, task: Callable, seconds: float):
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(task, theirs, seconds), daemon=True)
        with _interrupts_held_back():
            self.process.start()
        theirs.close()
        self.seconds = seconds
        self.in_hand: deque[int] = deque()
        self.deadline = float("inf")
        self.ready = False
        self.failure = ""

    def give(self, index: int, value: object) -> None:
        """Hand it an input; the clock starts when it has nothing else to do."""
        self.in_hand.append(index)
        if self.ready and len(self.in_hand) == 1:
            self._start_clock()
        with contextlib.suppress(OSError):  # it is dead; the next look finds that out
            self.channel.send(value)

    def results(self) -> Iterator[tuple[int, object]]:
        """What it has got done since the last look; sets `failure` if there will be no more."""
        for result in self._received():
            if isinstance(result, Exception) and not isinstance(result, FormatError):
                raise result
            if self.ready:
                yield self.in_hand.popleft(), result
            self.ready = True  # the first word only says that it has started
            self._start_clock()
        if not self.failure and self.deadline <= time.monotonic():
            self.failure = "timed_out"

    def _received(self) -> list[object]:
        messages = []
        try:
            while self.channel.poll():
                messages.append(self.channel.recv())
        except (EOFError, OSError):
            self.failure = "worker_died"
        return messages

    def _start_clock(self) -> None:
        self.deadline = time.monotonic() + self.seconds if self.in_hand else float("inf")

    def how_it_ended(self) -> str:
        """The signal or status that its process ended with."""
        code = self.process.exitcode
        return signal.Signals(-code).name if code and code < 0 else f"exit status {code}"

    def end(self) -> None:
        """End its process, whatever it does."""
        self.channel.close()
        if self.failure == "worker_died":
            self.process.join(_FAREWELL_SECONDS)  # or the way it ended could not be told
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits, and processes started meanwhile never get it: ending them is our business."""
    resource_tracker.ensure_running()  # or the first start would do it, and let Ctrl-C through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(task: Callable, channel: Connection, seconds: float) -> None:
    """Answer each input with the task's result or exception, until the other side is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory()
    channel.send(None)
    with contextlib.suppress(EOFError, OSError):
        while True:
            value = channel.recv()
            # Ends us even in the middle of C code, where the thread above gets no turn.
            signal.setitimer(signal.ITIMER_REAL, seconds + _FAREWELL_SECONDS)
            try:
                result = task(value)
            except Exception as error:
                result = error
            signal.setitimer(signal.ITIMER_REAL, 0)
            channel.send(result)


def _end_with_parent() -> None:
    """A parent that is killed outright cannot end its workers, and one may hang."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
