"""How many times faster than real time sound is rendered, coded, resampled and described.

    OMP_NUM_THREADS=1 python benchmarks/audio.py [--mert FOLDER] [--seconds 20] [--rounds 5]

CPU time, best of the rounds. Without `--mert` (a checkpoint's folder), MERT is left out.
"""

import argparse
import io
import time
from collections.abc import Callable

import mido
import numpy as np
import soundfile

from clamp3.formats.audio import MelFrontEnd, encode_ogg, read_audio, resample
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


def best_seconds(work: Callable[[], object], rounds: int) -> float:
    """The least CPU time of several rounds, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print one line for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mert")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
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
        print(f"{name:30} {seconds / best_seconds(work, options.rounds):8.0f} x real time")
    print(f"{'Ogg Vorbis':30} {len(ogg) / seconds / 1000:8.1f} kB/s")


if __name__ == "__main__":
    main()
