"""Resampling against recorded waveforms, a plain convolution, and soxr."""

import math

import numpy as np
import pytest
from repository import ROOT
from sounds import sine

from clamp3.errors import ConfigError
from clamp3.formats.audio.resampling import resample, resample_blocks

GOLDEN = ROOT / "tests/golden/models/mert.npz"
RATES = [8_000, 16_000, 22_050, 44_100, 48_000, 96_000]


def mono(pcm16):
    return (pcm16.astype(np.float32) / 32768).mean(axis=1, dtype=np.float32)


def plain_sinc(waveform, from_hz, to_hz):
    """Every output sample as a sum over all input samples, in double precision."""
    cutoff = 0.99 * min(from_hz, to_hz) / from_hz
    made = []
    for number in range(math.ceil(len(waveform) * to_hz / from_hz)):
        crossings = (np.arange(len(waveform)) - number * from_hz / to_hz) * cutoff
        hann = np.where(abs(crossings) < 6, np.cos(np.pi * crossings / 12) ** 2, 0)
        made.append(np.sum(waveform * np.sinc(crossings) * hann) * cutoff)
    return np.array(made)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", ["mono16k_3s", "stereo44k_2s5", "stereo48k_1s5"])
def test_recorded_waveforms(request, name, whole):
    """The beginnings from the repository, all of each from the full recordings."""
    place = request.getfixturevalue("goldens") / "models/mert.npz" if whole else GOLDEN
    recorded = np.load(place)
    expected = recorded[f"resampled24k/{name}"][0]
    made = resample(mono(recorded[f"pcm16/{name}"]), int(recorded[f"sr/{name}"]), 24_000)
    assert len(made) == len(expected) or not whole
    np.testing.assert_allclose(made[: len(expected)], expected, atol=5e-6)


@pytest.mark.parametrize("rate", [*RATES, 44_101, 24_001])
@pytest.mark.parametrize("samples", [1, 2, 150, 601])
def test_equals_the_plain_sum(rate, samples):
    waveform = np.random.default_rng(rate + samples).standard_normal(samples).astype(np.float32)
    made = resample(waveform, rate, 24_000)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, plain_sinc(waveform, rate, 24_000), atol=5e-6)


@pytest.mark.parametrize("resampler", ["sinc", "soxr"])
@pytest.mark.parametrize("rate", RATES)
def test_cuts_between_blocks_make_no_difference(rate, resampler):
    rng = np.random.default_rng(rate)
    waveform = rng.uniform(-1, 1, rate).astype(np.float32)
    blocks = np.split(waveform, np.sort(rng.integers(0, rate, 12)))
    made = np.concatenate(list(resample_blocks(blocks, rate, 24_000, resampler)))
    np.testing.assert_allclose(made, resample(waveform, rate, 24_000, resampler), atol=1e-6)


@pytest.mark.parametrize("resampler", ["sinc", "soxr"])
@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_what_it_is(rate, resampler):
    made = resample(sine(1000, rate, 0.5), rate, 24_000, resampler)
    assert len(made) == 12_000
    inner = slice(1000, -1000)
    np.testing.assert_allclose(made[inner], sine(1000, seconds=0.5)[inner], atol=2e-3)


def test_what_24_khz_cannot_hold_is_gone():
    made = resample(sine(15_000, 48_000, 0.5), 48_000, 24_000)
    assert np.abs(made[1000:-1000]).max() < 0.01


def test_the_same_rate_is_untouched_and_no_sound_stays_none():
    waveform = sine(440, seconds=0.5)
    np.testing.assert_array_equal(resample(waveform, 24_000, 24_000), waveform)
    for resampler in ("sinc", "soxr"):
        assert len(resample(waveform[:0], 44_100, 24_000, resampler)) == 0


def test_an_unknown_resampler_is_named():
    with pytest.raises(ConfigError, match="sox;"):
        resample(sine(440, 44_100, 0.5), 44_100, 24_000, "sox")
