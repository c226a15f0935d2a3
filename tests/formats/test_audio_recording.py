"""Recordings window by window: the same as from the whole waveform, in bounded memory."""

import io
import pickle
import tracemalloc

import numpy as np
import pytest
import soundfile
from refusals import refused
from sounds import RATE, plain_standard, plain_windows

from clamp3.formats.audio import Recording, decode_blocks, read_audio
from clamp3.formats.audio import recording as module


def sound(seconds, rate=RATE):
    rng = np.random.default_rng(round(seconds * 10))
    loud = np.linspace(0.1, 0.8, round(seconds * rate), dtype=np.float32)
    return (rng.uniform(-1, 1, len(loud)).astype(np.float32) * loud + 0.05).astype(np.float32)


def wav(waveform, rate=RATE, subtype="FLOAT", file_format="WAV"):
    stream = io.BytesIO()
    soundfile.write(stream, waveform, rate, subtype, format=file_format)
    return stream.getvalue()


@pytest.fixture
def short_memory(monkeypatch):
    """A second is long, and blocks are small."""
    monkeypatch.setattr(module, "KEPT_SECONDS", 1)
    monkeypatch.setattr("clamp3.formats.audio.decoding.BLOCK_VALUES", 10_007)


@pytest.mark.parametrize("seconds", [1.0, 4.3, 5.0, 12.3])
def test_a_short_recording_is_exactly_its_standardised_windows(seconds):
    data = wav(sound(seconds, 44_100), 44_100)
    recording = Recording.read(data)
    expected = plain_windows(read_audio(data), 5.0, 1.0)
    made = list(recording.windows(5.0, 1.0))
    assert recording.seconds == pytest.approx(seconds, abs=1e-4)
    assert recording.nbytes == recording.waveform.nbytes
    assert len(made) == len(expected)
    for ours, whole in zip(made, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, whole)


@pytest.mark.parametrize("resampler", ["sinc", "soxr"])
@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100, 48_000])
def test_a_long_one_is_decoded_again_and_gives_the_same(tmp_path, short_memory, rate, resampler):
    path = tmp_path / "long.wav"
    path.write_bytes(wav(sound(12.3, rate), rate))
    recording = pickle.loads(pickle.dumps(Recording.read(path, resampler)))
    assert recording.waveform is None
    assert recording.nbytes == 0
    expected = plain_windows(read_audio(path, resampler=resampler), 2.0, 0.5)
    for _ in range(2):
        made = list(recording.windows(2.0, 0.5))
        assert [len(window) for window in made] == [len(window) for window in expected]
        np.testing.assert_allclose(np.concatenate(made), np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("file_format", ["FLAC", "OGG", "MP3"])
def test_a_long_compressed_one(short_memory, file_format):
    data = wav(sound(6), RATE, None, file_format)
    made = np.concatenate(list(Recording.read(data).windows(2.0, 0.5)))
    expected = plain_standard(read_audio(data))[: len(made)]
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_memory_does_not_grow_with_the_length(tmp_path, monkeypatch):
    """Peaks of what NumPy holds; 16 minutes are 92 MB of samples."""
    monkeypatch.setattr(module, "KEPT_SECONDS", 20)
    monkeypatch.setattr("clamp3.formats.audio.decoding.BLOCK_VALUES", 2**16)
    path = tmp_path / "long.wav"
    peaks = []
    for minutes in (1, 16):
        with soundfile.SoundFile(path, "w", RATE, channels=1, subtype="PCM_16") as file:
            for _ in range(minutes):
                file.write(sound(60))
        tracemalloc.start()
        count = sum(1 for _ in Recording.read(path).windows(5.0, 1.0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == minutes * 12
    assert peaks[1] < peaks[0] + 1e6 < 12e6


def test_no_window():
    for samples in (1, 100, RATE - 1):
        with refused("too_short"):
            Recording.read(wav(sound(1)[:samples])).windows(5.0, 1.0)
    with refused("no_samples"):
        Recording.read(wav(sound(0)))


@pytest.mark.parametrize("seconds", [2, 5])
@pytest.mark.parametrize("value", [0, 0.25])
def test_silence(short_memory, seconds, value):
    recording = Recording.read(wav(np.full(seconds * RATE, value, np.float32)))
    windows = list(recording.windows(5, 1))
    assert [len(window) for window in windows] == [seconds * RATE]
    assert not windows[0].any()


def test_a_recording_that_changes_while_it_is_read(tmp_path, short_memory):
    path = tmp_path / "changing.wav"
    path.write_bytes(wav(sound(12)))
    recording = Recording.read(path)
    path.write_bytes(wav(sound(6)))
    with refused("unreadable_file"):
        list(recording.windows(5.0, 1.0))
    path.unlink()
    with refused("unreadable_file"):
        list(recording.windows(5.0, 1.0))


def test_the_file_is_closed_with_the_windows(monkeypatch, short_memory):
    closed = []

    def watched(*arguments):
        try:
            yield from decode_blocks(*arguments)
        finally:
            closed.append(True)

    recording = Recording.read(wav(sound(12)))
    monkeypatch.setattr(module, "decode_blocks", watched)
    made = recording.windows(2.0, 1.0)
    next(made)
    assert not closed
    made.close()
    assert closed


def test_a_waveform():
    waveform = sound(6, 48_000)
    recording = Recording.of(waveform, 48_000)
    assert recording.seconds == pytest.approx(6)
    expected = Recording.read(wav(waveform, 48_000))
    np.testing.assert_array_equal(recording.waveform, expected.waveform)
    double = Recording.of(waveform.astype(np.float64), np.int64(48_000))
    np.testing.assert_array_equal(double.waveform, recording.waveform)


@pytest.mark.parametrize(
    ("waveform", "rate", "kind"),
    [
        (np.zeros((2, 100)), RATE, "bad_waveform"),
        (np.float64(1), RATE, "bad_waveform"),
        (np.zeros(0), RATE, "no_samples"),
        (np.array([0, np.nan]), RATE, "not_finite"),
        (np.array([0, 1e300]), RATE, "not_finite"),
        (np.zeros(100), 0, "bad_sample_rate"),
        (np.zeros(100), -44_100, "bad_sample_rate"),
        (np.zeros(100), 44_100.5, "bad_sample_rate"),
        (np.zeros(100), float("nan"), "bad_sample_rate"),
    ],
)
def test_what_is_no_waveform(waveform, rate, kind):
    with refused(kind):
        Recording.of(waveform, rate)
