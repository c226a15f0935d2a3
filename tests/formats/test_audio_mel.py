"""The features that need no trained model: what each group of columns answers to."""

import os
import subprocess
import sys

import numpy as np
import pytest
from refusals import refused
from sounds import RATE, sine

from clamp3.errors import FormatError
from clamp3.formats.audio import MelFrontEnd, Recording

MEAN, SPREAD, RISE = slice(0, 64), slice(64, 128), slice(128, 192)
CHROMA_LOW, CHROMA_HIGH, LAGS = slice(192, 204), slice(204, 216), slice(216, 256)


def tone(pitch, seconds=5.0):
    return sine(440 * 2 ** ((pitch - 69) / 12), seconds=seconds)


def clicks(every_seconds, seconds=5.0):
    waveform = np.zeros(round(seconds * RATE), np.float32)
    burst = np.random.default_rng(0).standard_normal(480).astype(np.float32)
    for start in np.arange(0, seconds - 0.1, every_seconds):
        at = round(start * RATE)
        waveform[at : at + len(burst)] += burst
    return waveform


def rows(waveform):
    return MelFrontEnd().features(waveform)


@pytest.mark.parametrize(("seconds", "frames"), [(5, 1), (5.9, 1), (6, 2), (12.3, 3), (1, 1)])
def test_a_row_per_window(seconds, frames):
    made = rows(tone(60, seconds))
    assert made.shape == (frames, MelFrontEnd.feature_size) == (frames, 256)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert np.abs(made).max() < 6


def test_the_same_sound_gives_the_same_rows_at_any_level():
    music = tone(60) + tone(67) + clicks(0.5)
    np.testing.assert_array_equal(rows(music), rows(music.copy()))
    np.testing.assert_allclose(rows(music * 0.01), rows(music), atol=1e-2)


def test_the_number_of_threads_makes_no_difference():
    program = (
        "import hashlib, numpy; from clamp3.formats.audio import MelFrontEnd;"
        "noise = numpy.random.default_rng(0).standard_normal(120_000).astype('f4');"
        "print(hashlib.sha256(MelFrontEnd().features(noise).tobytes()).hexdigest())"
    )
    made = [
        subprocess.check_output(
            [sys.executable, "-c", program],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        )
        for threads in ("1", "2")
    ]
    assert made[0] == made[1]


def test_librosa_is_loaded_only_when_needed():
    program = "import sys, clamp3.formats.audio; print({'librosa', 'numba'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "set()\n"


def test_silence_is_zero():
    assert not rows(np.zeros(5 * RATE, np.float32)).any()


def test_recordings_one_after_the_other_and_the_faults_between_them():
    front_end = MelFrontEnd()
    broken = FormatError("corrupt_audio", "damaged")
    first, second = tone(60, 5), tone(67, 7)
    given = [Recording.of(first), broken, Recording.of(first[:100]), Recording.of(second)]
    made = list(front_end.features_of(iter(given)))
    np.testing.assert_array_equal(made[0], rows(first))
    assert made[1] is broken
    assert made[2].kind == "too_short"
    np.testing.assert_array_equal(made[3], rows(second))


def test_windows_shorter_than_a_frame():
    front_end = MelFrontEnd(window_seconds=0.02, min_tail_seconds=0.001)
    assert np.isfinite(front_end.features(tone(60, 0.05))).all()


def test_too_short():
    with refused("too_short"):
        rows(tone(60, 0.9))


@pytest.mark.parametrize("pitch", range(60, 84))
def test_pitch_classes_above_middle_c(pitch):
    assert np.argmax(rows(tone(pitch + 1))[0, CHROMA_HIGH]) == (pitch + 1) % 12


@pytest.mark.parametrize("pitch", range(48, 60))
def test_pitch_classes_below_middle_c(pitch):
    row = rows(tone(pitch))[0]
    assert np.argmax(row[CHROMA_LOW]) == pitch % 12
    assert row[CHROMA_LOW].max() > 0.7


@pytest.mark.parametrize("chord", [(60, 64, 67), (62, 65, 69), (70, 74, 77)])
def test_a_chord_shows_its_pitch_classes(chord):
    chroma = rows(sum(tone(pitch) for pitch in chord))[0, CHROMA_HIGH]
    inside = sorted(pitch % 12 for pitch in chord)
    assert chroma[inside].min() > 2 * np.delete(chroma, inside).max()


def test_a_higher_tone_stands_in_a_higher_band():
    bands = [np.argmax(rows(tone(pitch))[0, MEAN]) for pitch in (60, 72, 84, 96, 108)]
    assert bands == sorted(set(bands))


def test_only_a_changing_sound_has_spread_and_rises():
    steady, changing = rows(tone(72))[0], rows(clicks(0.5))[0]
    assert steady[SPREAD].max() < 0.1 < changing[SPREAD].min()
    assert steady[RISE].max() < 0.1 < changing[RISE].min()


@pytest.mark.parametrize("every", [0.25, 0.4, 0.75])
def test_a_beat_shows_at_its_own_distance(every):
    lags = rows(clicks(every))[0, LAGS]
    edges = 0.08 * 30 ** (np.arange(41) / 40)
    at = np.searchsorted(edges, every, side="right") - 1
    assert lags[at - 1 : at + 2].max() > 0.8
    off = np.searchsorted(edges, every * 0.7, side="right") - 1
    assert lags[off] < 0.3
