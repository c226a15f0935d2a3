"""How many times faster than real time sound is rendered, coded, resampled and described.

    OMP_NUM_THREADS=1 python benchmarks/audio.py [--mert FOLDER] [--seconds 20] [--rounds 5]

CPU time, best of the rounds. Without `--mert` (a checkpoint's folder), MERT is left out.

    python benchmarks/audio.py --memory-hours 2 [--mert FOLDER]

The most memory that one recording of that length takes, beside what a minute of sound takes.
"""

import argparse
import io
import multiprocessing
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
import soundfile
from measuring import best_seconds, peak_megabytes

from clamp3.formats.audio import MelFrontEnd, Recording, encode_ogg, read_audio, resample
from clamp3.formats.synthesis import render_midi

RATE_HZ = 24_000


def tune(seconds: float, voices: int) -> bytes:
    """A MIDI file in eighth notes at 120 beats a minute."""
    rng = np.random.default_rng(0)
    file = mido.MidiFile()
    for channel in range(voices):
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=40)])
        for pitch in rng.integers(50, 80, round(seconds * 4)):
            track.append(mido.Message("note_on", channel=channel, note=int(pitch)))
            track.append(mido.Message("note_off", channel=channel, note=int(pitch), time=240))
        file.tracks.append(track)
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def stereo_wav(seconds: float, rate_hz: int) -> bytes:
    """Noise as a 16-bit WAV file."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate_hz), 2))
    stream = io.BytesIO()
    soundfile.write(stream, noise, rate_hz, format="WAV")
    return stream.getvalue()


def write_long(path: Path, minutes: int) -> None:
    """Stereo at 44.1 kHz: a minute of a tone in noise, over and over."""
    rng = np.random.default_rng(0)
    rate_hz = 44_100
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(60 * rate_hz) / rate_hz)
    minute = tone[:, None] + rng.uniform(-0.01, 0.01, (len(tone), 2))
    with soundfile.SoundFile(path, "w", rate_hz, channels=2) as file:
        for _ in range(minutes):
            file.write(minute)


def grow(name: str, path: Path, minute: Path, mert: str | None) -> tuple[float, float, float]:
    """Peak MB after a minute of sound and after the recording; its CPU seconds."""
    front_end = MelFrontEnd()
    if name == "MERT":
        import torch

        from clamp3.models.mert import MertFrontEnd

        torch.set_num_threads(1)
        front_end = MertFrontEnd(mert, "cpu")
    works = {
        "windows alone": lambda path: sum(1 for _ in Recording.read(path).windows(5.0, 1.0)),
        "the whole waveform": read_audio,
    }
    work = works.get(name, lambda path: list(front_end.features_of([Recording.read(path)])))
    work(minute)
    before, start = peak_megabytes(), time.process_time()
    work(path)
    return before, peak_megabytes(), time.process_time() - start


def print_memory(hours: float, mert: str | None) -> None:
    """One line for each kind of work, each in a process of its own."""
    names = ["the whole waveform", "windows alone", "mel", *(["MERT"] if mert else [])]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        long, minute = Path(folder, "long.flac"), Path(folder, "minute.flac")
        write_long(long, round(60 * hours))
        write_long(minute, 1)
        samples = 60 * round(60 * hours) * RATE_HZ * 4 / 1e6
        print(f"{hours:g} hours of stereo FLAC at 44.1 kHz; as a waveform {samples:.0f} MB")
        for name in names:
            with context.Pool(1) as pool:
                before, after, seconds = pool.apply(grow, (name, long, minute, mert))
            print(f"{name:20} {before:6.0f} -> {after:6.0f} MB at most, {seconds:6.1f} s of CPU")


def main() -> None:
    """Print speeds, or with --memory-hours memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mert")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-hours", type=float)
    options = parser.parse_args()
    if options.memory_hours:
        print_memory(options.memory_hours, options.mert)
    else:
        print_speed(options)


def print_speed(options: argparse.Namespace) -> None:
    """One line for each kind of work."""
    seconds = options.seconds
    solo, quartet = tune(seconds, 1), tune(seconds, 4)
    sound = render_midi(quartet, seconds)
    ogg, wav = encode_ogg(sound, RATE_HZ), stereo_wav(seconds, 44_100)
    high = np.random.default_rng(0).standard_normal(round(44_100 * seconds)).astype(np.float32)
    works = {
        "render a tune": lambda: render_midi(solo, seconds),
        "render a quartet": lambda: render_midi(quartet, seconds),
        "encode Ogg Vorbis": lambda: encode_ogg(sound, RATE_HZ),
        "decode Ogg Vorbis": lambda: read_audio(ogg),
        "read 44.1 kHz stereo, sinc": lambda: read_audio(wav, resampler="sinc"),
        "read 44.1 kHz stereo, soxr": lambda: read_audio(wav, resampler="soxr"),
        "resample 44.1 kHz, sinc": lambda: resample(high, 44_100, RATE_HZ, "sinc"),
        "resample 44.1 kHz, soxr": lambda: resample(high, 44_100, RATE_HZ, "soxr"),
        "features, mel": lambda: MelFrontEnd().features(sound),
    }
    if options.mert:
        import torch

        from clamp3.models.mert import MertFrontEnd

        torch.set_num_threads(1)
        mert = MertFrontEnd(options.mert, "cpu")
        works["features, MERT"] = lambda: mert.features(sound)
    for name, work in works.items():
        work()  # the first time takes longer
        print(f"{name:30} {seconds / best_seconds(work, options.rounds):8.0f} x real time")
    print(f"{'Ogg Vorbis':30} {len(ogg) / seconds / 1000:8.1f} kB/s")


if __name__ == "__main__":
    main()
