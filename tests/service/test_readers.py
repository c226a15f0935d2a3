"""Processes that read uploads: what hangs or dies costs itself alone."""

import asyncio
import os
import time

import pytest

from clamp3.errors import FormatError
from clamp3.service.readers import Readers


def task(value: object) -> object:
    """Sleeps for a number, dies of "die", raises for "raise"."""
    if value == "die":
        os._exit(9)
    if value == "raise":
        raise ValueError("no")
    if isinstance(value, float):
        time.sleep(value)
    return value, os.getpid()


@pytest.fixture(scope="module")
def readers():
    made = Readers(task, 2, seconds=1.0)
    made.start()
    asyncio.run(together(made, 1, 2))  # until they have started
    yield made
    made.close()


async def together(readers, *values):
    return await asyncio.gather(*(readers.result(v) for v in values), return_exceptions=True)


def test_processes_are_kept(readers):
    found = [asyncio.run(readers.result(number)) for number in range(6)]
    assert [value for value, _ in found] == list(range(6))
    assert len({process for _, process in found}) <= 2
    assert os.getpid() not in {process for _, process in found}


def test_one_that_hangs_is_ended_and_others_go_on(readers):
    start = time.monotonic()
    hung, *found = asyncio.run(together(readers, 60.0, *range(5)))
    assert isinstance(hung, FormatError)
    assert (hung.kind, str(hung)) == ("timed_out", "not read after 1 seconds")
    assert [value for value, _ in found] == list(range(5))
    assert time.monotonic() - start < 8
    assert asyncio.run(readers.result(3))[0] == 3


def test_one_that_dies_is_refused_and_others_go_on(readers):
    dead, *found = asyncio.run(together(readers, "die", *range(5)))
    assert isinstance(dead, FormatError)
    assert dead.kind == "worker_died"
    assert "2 times, the last by exit status 9" in str(dead)
    assert [value for value, _ in found] == list(range(5))


def test_an_exception_is_raised_to_who_asked(readers):
    raised, found = asyncio.run(together(readers, "raise", 5))
    assert isinstance(raised, ValueError)
    assert found[0] == 5
    assert asyncio.run(readers.result(6))[0] == 6


def test_closing_ends_processes_at_work():
    made = Readers(task, 1, seconds=30.0)
    made.start()

    async def ask_and_close():
        waiting = asyncio.create_task(together(made, 1, 60.0))
        await asyncio.sleep(3)
        start = time.monotonic()
        await asyncio.to_thread(made.close)
        return time.monotonic() - start, await waiting

    seconds, (_, ended) = asyncio.run(ask_and_close())
    assert seconds < 5
    assert isinstance(ended, Exception)
