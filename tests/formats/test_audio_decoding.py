"""Sound files of every kind, good and damaged."""

import io
import logging

import numpy as np
import pytest
import soundfile

from clamp3.errors import FormatError
from clamp3.formats.audio import encode_ogg, read_audio
from clamp3.formats.audio.encoding import with_serial

RATE = 24_000
FORMATS = [
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-6),
    ("WAV", "FLOAT", 0),
    ("WAV", "PCM_U8", 0.01),
    ("FLAC", "PCM_16", 1e-4),
    ("AIFF", "PCM_16", 1e-4),
    ("OGG", "VORBIS", 0.05),
    ("OGG", "OPUS", 0.1),
    ("MP3", "MPEG_LAYER_III", 0.1),
]


def tone(hertz=440.0, rate=RATE, seconds=2.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def encode(samples, rate=RATE, file_format="WAV", subtype="PCM_16"):
    stream = io.BytesIO()
    with soundfile.SoundFile(
        stream,
        "w",
        rate,
        channels=samples.shape[1] if samples.ndim == 2 else 1,
        format=file_format,
        subtype=subtype,
    ) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return stream.getvalue()


def loudest_hz(waveform, rate=RATE):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return np.argmax(spectrum) * rate / len(waveform)


def fault(source, **options):
    with pytest.raises(FormatError) as caught:
        read_audio(source, **options)
    return caught.value


@pytest.mark.parametrize(("file_format", "subtype", "tolerance"), FORMATS)
def test_formats(tmp_path, file_format, subtype, tolerance):
    data = encode(tone(), RATE, file_format, subtype)
    path = tmp_path / "named like nothing"
    path.write_bytes(data)
    made = read_audio(data)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, read_audio(path))
    assert len(made) == pytest.approx(2 * RATE, abs=2400)
    assert loudest_hz(made) == pytest.approx(440, abs=1)
    if tolerance < 0.05:
        np.testing.assert_allclose(made, tone(), atol=tolerance)


@pytest.mark.parametrize("resampler", ["sinc", "soxr"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_rates(rate, resampler):
    made = read_audio(encode(tone(440, rate), rate), resampler=resampler)
    assert len(made) == 2 * RATE
    assert loudest_hz(made) == pytest.approx(440, abs=1)
    assert np.abs(made).max() == pytest.approx(0.5, abs=0.02)


def test_channels_are_averaged_before_resampling():
    left, right = tone(440, 44_100), tone(1000, 44_100)
    stereo = np.stack([left, right], axis=1)
    made = read_audio(encode(stereo, 44_100, subtype="FLOAT"))
    expected = read_audio(encode((left + right) / 2, 44_100, subtype="FLOAT"))
    np.testing.assert_array_equal(made, expected)
    assert not read_audio(encode(np.stack([left, -left], axis=1), 44_100, subtype="FLOAT")).any()
    six = np.repeat(left[:, None], 6, axis=1)
    np.testing.assert_allclose(
        read_audio(encode(six, 44_100, subtype="FLOAT")),
        read_audio(encode(left, 44_100, subtype="FLOAT")),
        atol=1e-6,
    )


def test_a_recording_longer_than_a_block(monkeypatch):
    data = encode(np.stack([tone(330), tone(550)], axis=1))
    whole = read_audio(data, 16_000)
    monkeypatch.setattr("clamp3.formats.audio.decoding.BLOCK_VALUES", 1_001)
    np.testing.assert_allclose(read_audio(data, 16_000), whole, atol=2e-6)


def test_an_mp3_behind_a_large_tag_with_a_picture():
    size = 200_000
    head = b"ID3\x04\x00\x00" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    picture = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).tobytes()
    data = encode(tone(), RATE, "MP3", "MPEG_LAYER_III")
    np.testing.assert_array_equal(read_audio(head + picture + data), read_audio(data))


def test_files_that_are_not_there_or_empty(tmp_path):
    assert fault(tmp_path / "none.wav").kind == "unreadable_file"
    assert fault(tmp_path).kind == "unreadable_file"
    assert fault(b"").kind == "empty_file"
    assert fault(encode(tone()[:0])).kind == "no_samples"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\0\0\0\x20ftypM4A ", "m4a"),
        (b"\xff\xf1\x50\x80", "AAC"),
        (b"\x1a\x45\xdf\xa3", "WebM"),
        (b"\x30\x26\xb2\x75", "Windows Media"),
        (b"MThd\0\0\0\x06", "MIDI"),
        (b"<!DOCTYPE html>", "web page"),
        (b"hello", "something else"),
    ],
)
def test_what_cannot_be_decoded_is_named_with_a_way_out(head, found):
    error = fault(head + bytes(500))
    assert error.kind == "unsupported_audio"
    assert found in str(error)
    assert "ffmpeg -i" in str(error)


def test_a_raw_file(tmp_path):
    path = tmp_path / "samples.raw"
    path.write_bytes(bytes(1000))
    assert fault(path).kind == "unsupported_audio"


def test_damage():
    flac = encode(tone(), RATE, "FLAC")
    assert fault(flac[: len(flac) // 2]).kind == "corrupt_audio"
    assert fault(b"RIFF" + bytes(60)).kind == "corrupt_audio"
    assert fault(flac[:20]).kind == "corrupt_audio"


def test_a_stream_that_ends_early_is_used_and_told(caplog):
    mp3 = encode(tone(seconds=10), RATE, "MP3", "MPEG_LAYER_III")
    with caplog.at_level(logging.WARNING):
        made = read_audio(mp3[: len(mp3) // 2])
    assert 4 * RATE < len(made) < 6 * RATE
    assert "of 10.0 s" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value):
    samples = tone()
    samples[12_000] = value
    error = fault(encode(samples, subtype="FLOAT"))
    assert error.kind == "not_finite"
    assert "0.500 s" in str(error)


def test_rates_no_recording_has():
    assert fault(encode(tone(), 500)).kind == "bad_sample_rate"
    assert fault(encode(tone()[:100], 2_000_000_000)).kind == "bad_sample_rate"


def test_too_long(monkeypatch):
    monkeypatch.setattr("clamp3.formats.audio.decoding.MAX_SECONDS", 1)
    assert fault(encode(tone())).kind == "too_long"


def test_ogg_is_the_same_each_time_and_decodes():
    """libsndfile numbers the stream by the clock; the number and the checksums are set anew."""
    data = encode_ogg(tone(), RATE)
    assert data == with_serial(encode(tone(), RATE, "OGG", "VORBIS"), 1)
    assert data == with_serial(with_serial(data, 77), 1)
    assert data != with_serial(data, 77)
    original = encode(tone(), RATE, "OGG", "VORBIS")
    number = int.from_bytes(original[14:18], "little")
    assert with_serial(data, number) == original
    np.testing.assert_array_equal(read_audio(data), read_audio(original))


def test_a_long_ogg():
    assert len(read_audio(encode_ogg(tone(seconds=70), RATE))) == 70 * RATE
