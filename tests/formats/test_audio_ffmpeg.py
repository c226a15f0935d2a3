"""The ffmpeg program: a stand-in for it, and itself where it is installed."""

import logging
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, plain_standard

from clamp3.errors import FormatError
from clamp3.formats.audio import Recording, decode_blocks, read_audio
from clamp3.formats.audio import recording as recording_module
from clamp3.formats.audio.ffmpeg import FfmpegFile

HEAD = b"\0\0\0\x20ftypM4A "
# Stands for decoding: what follows ANSWER goes to the output. STATUS and MESSAGE as they say.
STAND_IN = """#!{python} -S
import os, sys
arguments = sys.argv[1:]
given = arguments[arguments.index("-i") + 1]
assert given.startswith("file:") and arguments[-1] == "pipe:1" and "-nostdin" in arguments
assert not sys.stdin.read()
with open(given[5:], "rb") as file:
    head, found, answer = file.read().partition(b"ANSWER")
sys.stdout.buffer.write(answer)
sys.stdout.buffer.flush()
if b"ENDLESS" in head:
    with open(os.path.join(os.path.dirname(__file__), "process"), "w") as note:
        note.write(str(os.getpid()))
    while True:
        sys.stdout.buffer.write(bytes(1000))
if b"MESSAGE" in head or not found:
    print("first\\n" + given + ": \\xff Invalid data\\n", file=sys.stderr)
sys.exit(1 if b"STATUS" in head or not found else 0)
"""
needs_scripts = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A folder that holds nothing but the stand-in, as PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "ffmpeg"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return path


def samples(seconds, channels=2):
    rng = np.random.default_rng(channels)
    return rng.uniform(-0.5, 0.5, (round(seconds * RATE), channels)).astype(np.float32)


def au(values, rate=RATE, channels=None, encoding=6, more=b""):
    channels = values.shape[1] if channels is None else channels
    head = struct.pack(">4s5I", b".snd", 24 + len(more), 2**32 - 1, encoding, rate, channels)
    return head + more + values.astype(">f4").tobytes()


def fault(source):
    with pytest.raises(FormatError) as caught:
        read_audio(source)
    assert "\n" not in str(caught.value)
    return caught.value


@needs_scripts
class TestStandIn:
    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_samples(self, program, tmp_path, channels):
        values = samples(2, channels)
        data = HEAD + b"ANSWER" + au(values, more=b"a comment...")
        (tmp_path / "a.m4a").write_bytes(data)
        made = read_audio(tmp_path / "a.m4a")
        np.testing.assert_allclose(made, values.mean(axis=1), atol=1e-7)
        np.testing.assert_array_equal(read_audio(data), made)

    def test_its_rate_is_resampled(self, program):
        made = read_audio(HEAD + b"ANSWER" + au(samples(2), rate=48_000))
        assert len(made) == RATE

    @pytest.mark.parametrize("name", ["-i.m4a", "-", b"n\xff.m4a", "http:a", "a b\n'$(x).m4a"])
    def test_any_name(self, program, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        path = Path(os.fsdecode(name))
        path.write_bytes(HEAD + b"ANSWER" + au(samples(1)))
        assert len(read_audio(path)) == RATE

    def test_in_blocks_twice(self, program, tmp_path, monkeypatch):
        monkeypatch.setattr(recording_module, "KEPT_SECONDS", 1)
        monkeypatch.setattr("clamp3.formats.audio.decoding.BLOCK_VALUES", 1_001)
        values = samples(3)
        path = tmp_path / "a.m4a"
        path.write_bytes(HEAD + b"ANSWER" + au(values))
        made = np.concatenate(list(Recording.read(path).windows(1.0, 0.5)))
        np.testing.assert_allclose(made, plain_standard(values.mean(axis=1)), atol=1e-6)

    def test_what_libsndfile_reads_needs_no_program(self, program, tmp_path):
        program.write_text("#!/bin/false\n")
        soundfile.write(tmp_path / "a.wav", samples(1), RATE)
        assert len(read_audio(tmp_path / "a.wav")) == RATE

    @pytest.mark.parametrize(
        ("data", "kind", "said"),
        [
            (HEAD, "unsupported_audio", "m4a.*finds no sound in it: .*Invalid data"),
            (b"hello", "unsupported_audio", "something else.*Invalid data"),
            (b"fLaC and no more", "corrupt_audio", "damaged from the start.*Invalid data"),
            (HEAD + b"ANSWER", "unsupported_audio", "finds no sound"),
            (HEAD + b"ANSWER.snd and something else......", "unsupported_audio", "does not answer"),
            (HEAD + b"ANSWER" + au(samples(1), encoding=3), "unsupported_audio", "does not answer"),
            (HEAD + b"ANSWER" + au(samples(1), channels=0), "unsupported_audio", "not answer"),
            (HEAD + b"ANSWER" + au(samples(1), channels=2**31), "unsupported_audio", "not answer"),
            (HEAD + b"ANSWER" + au(samples(1), rate=3), "bad_sample_rate", "3 Hz"),
            (HEAD + b"ANSWER" + au(samples(0)), "no_samples", "no samples"),
            (HEAD + b"ANSWER" + au(samples(1) * np.nan), "not_finite", "NaN"),
            (HEAD + b"STATUSANSWER" + au(samples(1)), "corrupt_audio", "after 1.0 s.*status 1"),
            (HEAD + b"STATUSMESSAGEANSWER" + au(samples(1)), "corrupt_audio", "Invalid data"),
        ],
    )
    def test_faults(self, program, data, kind, said):
        error = fault(data)
        assert error.kind == kind
        assert re.search(said, str(error)), str(error)

    def test_half_a_sample_at_the_end_is_left_out(self, program):
        assert len(read_audio(HEAD + b"ANSWER" + au(samples(1)) + b"123")) == RATE

    def test_complaints_are_told(self, program, caplog):
        with caplog.at_level(logging.WARNING):
            assert len(read_audio(HEAD + b"MESSAGEANSWER" + au(samples(1)))) == RATE
        assert "may be damaged" in caplog.text

    def test_it_ends_with_the_reading(self, program, tmp_path):
        blocks = decode_blocks(HEAD + b"ENDLESSANSWER" + au(samples(1)))
        assert len(next(blocks))
        process = int((program.parent / "process").read_text())
        os.kill(process, 0)
        blocks.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)

    def test_endless_sound_is_too_long(self, program, monkeypatch):
        monkeypatch.setattr("clamp3.formats.audio.decoding.MAX_WHOLE_SECONDS", 30)
        assert fault(HEAD + b"ENDLESSANSWER" + au(samples(1))).kind == "too_long"

    def test_midi_and_markup_are_not_tried(self, program):
        program.write_text("#!/bin/sh\ntouch $(dirname $0)/ran\n")
        for head, found in ((b"MThd", "MIDI"), (b"<html>", "web page")):
            assert found in str(fault(head + bytes(100)))
        assert not (program.parent / "ran").exists()

    def test_a_program_that_cannot_run(self, program):
        program.write_text("no program")
        assert "cannot be run" in str(fault(HEAD))


def test_without_it_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    error = fault(HEAD + bytes(100))
    assert error.kind == "unsupported_audio"
    assert "m4a" in str(error)
    assert "ffmpeg program" in str(error)
    assert "ffmpeg program" in str(fault(b"RIFF" + bytes(60)))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
class TestItself:
    @pytest.mark.parametrize(
        ("name", "options", "tolerance"),
        [
            ("alac.m4a", ["-c:a", "alac"], 1e-4),
            ("flac.mka", ["-c:a", "flac"], 1e-4),
            ("aac.m4a", ["-c:a", "aac", "-b:a", "256k"], 0.1),
        ],
    )
    def test_what_it_encodes(self, tmp_path, name, options, tolerance):
        hertz = np.array([440, 660])
        tones = 0.4 * np.sin(2 * np.pi * hertz * np.arange(3 * 44_100)[:, None] / 44_100)
        soundfile.write(tmp_path / "a.wav", tones, 44_100)
        command = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), *options]
        subprocess.run([*command, str(tmp_path / name)], check=True)
        made, expected = read_audio(tmp_path / name), read_audio(tmp_path / "a.wav")
        inner = slice(RATE // 2, 2 * RATE)
        np.testing.assert_allclose(made[inner], expected[inner], atol=tolerance)
        np.testing.assert_array_equal(read_audio((tmp_path / name).read_bytes()), made)

    @pytest.mark.parametrize("data", [HEAD + bytes(5000), b"hello\n" * 1000, bytes(9000)])
    @pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "-i"])
    def test_what_is_no_sound(self, tmp_path, name, data):
        (tmp_path / name).write_bytes(data)
        assert fault(tmp_path / name).kind == "unsupported_audio"

    def test_a_wav_through_it_is_the_wav(self, tmp_path):
        values = samples(2, 2)
        soundfile.write(tmp_path / "a.wav", values, RATE, "FLOAT")
        with FfmpegFile(shutil.which("ffmpeg"), tmp_path / "a.wav") as file:
            assert (file.samplerate, file.channels) == (RATE, 2)
            np.testing.assert_array_equal(file.read(3 * RATE), values)
            assert not len(file.read(10))
