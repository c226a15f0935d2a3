"""Windows of equal length, the tail, and one level for all."""

import numpy as np
import pytest
from refusals import refused
from sounds import RATE, plain_standard

from clamp3.errors import FormatError
from clamp3.formats.audio import Recording
from clamp3.formats.audio.windows import Level, window_lengths


def lengths(seconds, window=5.0, tail=1.0):
    return [samples / RATE for samples in window_lengths(round(seconds * RATE), window, tail)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (5.0, [5]),
        (5.9, [5]),
        (6.0, [5, 1]),
        (12.3, [5, 5, 2.3]),
        (10.0, [5, 5]),
        (1.0, [1]),
        (5.9999, [5]),
    ],
)
def test_a_tail_of_a_second_is_kept_and_less_is_dropped(seconds, expected):
    assert lengths(seconds) == pytest.approx(expected)


@pytest.mark.parametrize("seconds", [0, 0.5, 0.9999])
def test_less_than_a_tail_is_too_short(seconds):
    with refused("too_short", "less than 1 s"):
        lengths(seconds)


def test_windows_join_to_the_waveform():
    waveform = np.arange(RATE * 12, dtype=np.float32)
    joined = np.concatenate(list(Recording.of(waveform).windows(5.0, 1.0)))
    np.testing.assert_array_equal(joined, plain_standard(waveform))


def test_other_lengths():
    assert lengths(3.0, 2.0, 0.5) == [2, 1]
    # A limit beyond the window cannot drop a whole window.
    assert lengths(3.0, 1.0, 2.0) == [1, 1, 1]


def standard(waveform):
    return Level().joined(waveform).standardise(waveform)


def test_standardised_is_mean_0_and_variance_1_at_any_level():
    waveform = np.random.default_rng(0).normal(0.3, 0.1, 50_000).astype(np.float32)
    made = standard(waveform)
    assert made.dtype == np.float32
    assert abs(made.mean()) < 1e-4
    assert made.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(standard(waveform * 4 - 1), made, atol=2e-3)
    assert not standard(np.zeros(100, np.float32)).any()


@pytest.mark.parametrize("blocks", [1, 2, 7, 200])
def test_the_level_of_blocks_is_the_level_of_the_whole(blocks):
    rng = np.random.default_rng(blocks)
    waveform = (rng.standard_normal(50_000) * np.linspace(0, 1, 50_000) + 0.2).astype(np.float32)
    level = Level()
    for block in np.split(waveform, np.sort(rng.integers(0, 50_000, blocks - 1))):
        level = level.joined(block)
    assert level.samples == 50_000
    assert level.mean == pytest.approx(waveform.mean(dtype=np.float64), rel=1e-12)
    assert level.variance == pytest.approx(waveform.var(dtype=np.float64), rel=1e-12)
    np.testing.assert_allclose(level.standardise(waveform), standard(waveform), rtol=2e-7)
    np.testing.assert_array_equal(standard(waveform), plain_standard(waveform))


@pytest.mark.parametrize("samples", [1, 23_999, 24_000, 120_000, 143_999, 144_000, 1_000_001])
def test_lengths_add_up(samples):
    for tail in (0.0, 1.0, 5.0, 9.0):
        try:
            made = window_lengths(samples, 5.0, tail)
        except FormatError:
            assert samples < tail * RATE
            continue
        assert set(made[:-1]) <= {120_000}
        assert 0 < made[-1] <= 120_000
        assert samples - sum(made) < max(1, min(tail, 5) * RATE)
