"""Windows of several recordings computed together: order, faults, how many wait."""

import numpy as np
import pytest
from sounds import RATE

from clamp3.errors import FormatError
from clamp3.formats.audio import Recording, WindowBatches


class Computer:
    """Describes a window by its length and ends, and remembers the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, batch):
        self.batches.append(batch.shape)
        return np.stack([np.full(len(batch), batch.shape[1]), batch[:, 0], batch[:, -1]], axis=1)


def recordings(*seconds):
    return [
        Recording.of(np.random.default_rng(i).uniform(-1, 1, round(s * RATE)).astype(np.float32))
        for i, s in enumerate(seconds)
    ]


def run(given, batch=4):
    computer = Computer()
    return list(WindowBatches(computer, batch).rows_of(given, 0.1, 0.02)), computer.batches


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 100])
def test_rows_are_those_of_each_recording_alone(batch):
    given = recordings(0.5, 0.03, 0.22, 0.1, 0.33, 0.33, 1.57, 0.05, 0.05)
    made, batches = run(iter(given), batch)
    assert max(rows for rows, _ in batches) <= batch
    for recording, rows in zip(given, made, strict=True):
        (alone,), _ = run([recording], 1)
        np.testing.assert_array_equal(rows, alone)


def test_equal_windows_go_together_across_recordings():
    _, batches = run(recordings(0.2, 0.23, 0.1, 0.23, 0.2, 0.03))
    assert sorted(batches) == [(1, 2400), (3, 720), (4, 2400), (4, 2400)]


def test_faults_keep_their_place():
    broken = FormatError("corrupt_audio", "damaged")
    first, short, last = recordings(0.2, 0.01, 0.15)
    made, _ = run([broken, first, short, broken, last])
    assert made[0] is made[3] is broken
    assert made[2].kind == "too_short"
    assert [len(made[i]) for i in (1, 4)] == [2, 2]


def test_a_fault_in_the_middle_spoils_its_own_recording_only():
    class Breaking:
        def windows(self, *lengths):
            yield np.ones(2400, np.float32)
            raise FormatError("corrupt_audio", "damaged after 0.1 s")

    first, last = recordings(0.2, 0.2)
    made, _ = run([first, Breaking(), last])
    assert made[1].kind == "corrupt_audio"
    np.testing.assert_array_equal(made[0], run([first])[0][0])
    np.testing.assert_array_equal(made[2], run([last])[0][0])


def test_few_windows_wait_and_results_come_early():
    """A tail that meets no equal keeps nobody waiting for long."""
    taken = []

    def coming():
        for number, recording in enumerate(recordings(*[0.03, *[0.4] * 30])):
            taken.append(number)
            yield recording

    rows = WindowBatches(Computer(), 3).rows_of(coming(), 0.1, 0.02)
    next(rows)
    assert len(taken) <= 31
    odd = [0.021 + 0.0001 * number for number in range(60)]
    taken.clear()
    computer = Computer()

    def many():
        for number, recording in enumerate(recordings(*odd)):
            taken.append(number)
            yield recording

    rows = WindowBatches(computer, 3).rows_of(many(), 0.1, 0.02)
    for number, _ in enumerate(rows):
        assert len(taken) - number <= 14


def test_no_recordings():
    assert run([]) == ([], [])
