"""How tests wait for what other threads and processes do."""

import time
from collections.abc import Callable

import psutil


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so; fails where it is not so in time."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process is at work: one that has ended and was not waited for is not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
