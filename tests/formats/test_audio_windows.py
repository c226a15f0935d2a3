"""Windows of equal length, the tail, and one level for all."""

import numpy as np
import pytest

from clamp3.errors import FormatError
from clamp3.formats.audio import standardise, windows

RATE = 24_000


def lengths(seconds, **options):
    settings = {"window_seconds": 5.0, "min_tail_seconds": 1.0} | options
    parts = windows(np.zeros(round(seconds * RATE), np.float32), **settings)
    return [len(part) / RATE for part in parts]


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
    with pytest.raises(FormatError, match="less than 1 s") as caught:
        lengths(seconds)
    assert caught.value.kind == "too_short"


def test_windows_join_to_the_waveform():
    waveform = np.arange(RATE * 12, dtype=np.float32)
    np.testing.assert_array_equal(np.concatenate(windows(waveform, 5.0, 1.0)), waveform)


def test_other_lengths_and_rates():
    assert lengths(3.0, window_seconds=2.0, min_tail_seconds=0.5) == [2, 1]
    # A limit beyond the window cannot drop a whole window.
    assert lengths(3.0, window_seconds=1.0, min_tail_seconds=2.0) == [1, 1, 1]
    assert [len(p) for p in windows(np.zeros(250), 1.0, 0.5, sample_rate_hz=100)] == [100, 100, 50]


def test_standardised_is_mean_0_and_variance_1_at_any_level():
    waveform = np.random.default_rng(0).normal(0.3, 0.1, 50_000).astype(np.float32)
    made = standardise(waveform)
    assert made.dtype == np.float32
    assert abs(made.mean()) < 1e-4
    assert made.std() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(standardise(waveform * 4 - 1), made, atol=2e-3)
    assert not standardise(np.zeros(100, np.float32)).any()
