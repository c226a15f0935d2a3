"""Items of several callers are computed together, and each gets its own."""

import asyncio
import threading
import time

import pytest

from clamp3.service.batching import Batcher


class Doubling:
    """Doubles numbers; remembers the batches; a negative number is refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items):
        self.gate.wait(10)
        self.batches.append(list(items))
        if -99 in items:
            raise ValueError("all of it")
        return [ValueError(str(item)) if item < 0 else 2 * item for item in items]


@pytest.fixture
def doubling():
    return Doubling()


@pytest.fixture
def batcher(doubling):
    made = Batcher("doubling", doubling, wait_seconds=0.05, most=8)
    yield made
    doubling.gate.set()
    made.close()


def test_what_arrives_together_is_computed_together(batcher, doubling):
    async def ask():
        return await asyncio.gather(*(batcher.result(number) for number in range(5)))

    assert asyncio.run(ask()) == [0, 2, 4, 6, 8]
    assert doubling.batches == [[0, 1, 2, 3, 4]]


def test_no_batch_is_too_large_and_none_waits_longer_than_told(batcher, doubling):
    futures = [batcher.submit(number) for number in range(20)]
    assert [future.result(5) for future in futures] == [2 * number for number in range(20)]
    assert [len(batch) for batch in doubling.batches] == [8, 8, 4]
    start = time.monotonic()
    assert batcher.submit(7).result(5) == 14
    assert time.monotonic() - start < 1


def test_what_one_is_refused_for_harms_no_other(batcher, doubling):
    futures = [batcher.submit(number) for number in (1, -2, 3)]
    assert futures[0].result(5) == 2
    assert futures[2].result(5) == 6
    with pytest.raises(ValueError, match="-2"):
        futures[1].result(5)
    futures = [batcher.submit(number) for number in (1, -99, 3)]
    assert [futures[0].result(5), futures[2].result(5)] == [2, 6]
    with pytest.raises(ValueError, match="all of it"):
        futures[1].result(5)
    assert doubling.batches[-3:] == [[1], [-99], [3]]


def test_who_does_not_wait_any_more_is_left_out(batcher, doubling):
    doubling.gate.clear()
    first = batcher.submit(1)
    time.sleep(0.2)  # it is being computed
    given_up, waited_for = batcher.submit(2), batcher.submit(3)
    assert given_up.cancel()
    doubling.gate.set()
    assert (first.result(5), waited_for.result(5)) == (2, 6)
    assert doubling.batches == [[1], [3]]


def test_closing_cancels_what_has_not_begun(batcher, doubling):
    doubling.gate.clear()
    first = batcher.submit(1)
    time.sleep(0.2)
    waiting = [batcher.submit(number) for number in range(20)]
    threading.Timer(0.2, doubling.gate.set).start()
    batcher.close()
    assert first.result(5) == 2
    assert all(future.cancelled() for future in waiting)
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(1)


def test_a_fault_of_the_computation_does_not_end_it():
    answers = iter([[], [1, 2, 3], [7]])
    made = Batcher("x", lambda items: next(answers), wait_seconds=0, most=8)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"x: \d results of 1 items"):
            made.submit(0).result(5)
    assert made.submit(0).result(5) == 7
    made.close()


def test_observers_are_told_how_many():
    told = []
    made = Batcher("x", lambda items: items, wait_seconds=0.05, most=8, observe=told.append)
    futures = [made.submit(number) for number in range(3)]
    assert [future.result(5) for future in futures] == [0, 1, 2]
    made.close()
    assert told == [3]
