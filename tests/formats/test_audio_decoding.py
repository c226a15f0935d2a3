"""Sound files of every kind, good and damaged."""

import io
import logging
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from midi_files import loudest_hz
from sounds import RATE, sine

from clamp3.errors import FormatError
from clamp3.formats.audio import decode_blocks, encode_ogg, read_audio
from clamp3.formats.audio.encoding import with_serial

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
    return sine(hertz, rate, seconds) / 2


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


def fault(source, **options):
    with pytest.raises(FormatError) as caught:
        read_audio(source, **options)
    return caught.value


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch, tmp_path_factory):
    """Where the program is installed, too, libsndfile alone is tested here."""
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("no programs")))


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
    assert "where the ffmpeg program is installed" in str(error)


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


def test_a_wav_that_ends_early_is_used_and_told(caplog):
    wav = encode(tone())
    with caplog.at_level(logging.WARNING):
        assert len(read_audio(wav[: 44 + RATE * 2])) == RATE
    assert "cut off, holds 48044 of 96044 bytes" in caplog.text
    caplog.clear()
    streamed = wav[:4] + b"\xff" * 4 + wav[8:40] + b"\xff" * 4 + wav[44:]
    np.testing.assert_array_equal(read_audio(streamed), read_audio(wav))
    assert not caplog.text


@pytest.mark.parametrize(
    "name", ["-", "-i.wav", b"n\xff\xfe.wav", "a b'\n;$(x).wav", "https:x.wav"]
)
def test_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    path.write_bytes(encode(tone()))
    assert len(read_audio(path)) == 2 * RATE


def with_field(data, at, value):
    return data[:at] + struct.pack(">I" if data[:4] == b".snd" else "<H", value) + data[at + 4 :]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"hello, this is no music\n" * 300, "unsupported_audio"),
        (np.random.default_rng(0).bytes(20_000), "unsupported_audio"),
        (bytes(20_000), "unsupported_audio"),
        (with_field(encode(tone(), RATE, "AU"), 20, 2**31), "unsupported_audio"),
        (with_field(encode(tone(), RATE, "AU"), 20, 0), "unsupported_audio"),
        (with_field(encode(tone()), 22, 65_535), "corrupt_audio"),
        (with_field(encode(tone()), 22, 0), "corrupt_audio"),
        (encode(tone() * np.float32(1e38), subtype="FLOAT"), "not_finite"),
        (encode(tone().astype(np.float64) * 1e300, subtype="DOUBLE"), "not_finite"),
        (encode(np.full((RATE, 2), 3e38, np.float32), subtype="FLOAT"), "not_finite"),
    ],
)
@pytest.mark.parametrize("suffix", ["mp3", "wav"])
def test_what_is_no_sound_is_one_fault(tmp_path, data, kind, suffix):
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(data)
    error = fault(path)
    assert error.kind == kind
    assert "\n" not in str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert fault(tmp_path / "pipe.wav").kind == "unreadable_file"


def test_one_sample():
    assert len(read_audio(encode(tone()[:1]))) == 1
    for resampler in ("sinc", "soxr"):
        assert len(read_audio(encode(tone()[:1], 48_000), resampler=resampler)) == 1


def test_rates_no_recording_has():
    assert fault(encode(tone(), 500)).kind == "bad_sample_rate"
    assert fault(encode(tone()[:100], 2_000_000_000)).kind == "bad_sample_rate"


def test_too_long(monkeypatch):
    monkeypatch.setattr("clamp3.formats.audio.decoding.MAX_WHOLE_SECONDS", 1)
    assert fault(encode(tone())).kind == "too_long"
    assert sum(map(len, decode_blocks(encode(tone())))) == 2 * RATE
    monkeypatch.setattr("clamp3.formats.audio.decoding.MAX_SECONDS", 1.5)
    with pytest.raises(FormatError, match="longer than"):
        list(decode_blocks(encode(tone())))


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
