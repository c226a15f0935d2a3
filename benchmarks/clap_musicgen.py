"""How many recordings a second CLAP-MusicGen reads, and what kept codes and states spare.

    OMP_NUM_THREADS=1 python benchmarks/clap_musicgen.py [--published] [--tracks N] [--rounds N]
                                                         [--threads 1]

Sizes, chunks and reading are those of params.yaml, or with --published those of the preset
clap-musicgen and of musicgen-small (3.2 GB of memory, 1.4 GB on disk while it runs); weights are
random, which changes no speed. Recordings are chords in stereo at 44.1 kHz, as long as is read of
them, so that each gives all its chunks. Codes and states are computed as the stages `codes` and
`states` do. Best of the rounds, by turns; CPU seconds count, as others use the machine too. All
ways must give the same vectors.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import soundfile
import torch
import yaml

from clamp3.config import (
    CodesConfig,
    MusicgenArchitecture,
    MusicgenReading,
    RecordingChunks,
    check,
)
from clamp3.data.store import Store
from clamp3.files import write_table
from clamp3.models.clap_musicgen import ClapModel, ClapModelConfig, CodecConfig, DecoderConfig
from clamp3.models.clap_musicgen.pretrained import (
    load_codec,
    load_decoder,
    make_musicgen,
    write_new_musicgen,
)
from clamp3.models.encoders import empty_weights
from clamp3.retrieval.embedding.clap_vectors import chunk_vectors, recording_vector
from clamp3.retrieval.features.codes import (
    decoder_states,
    extract_codes,
    pool_codes,
    read_codes,
    recording_codes,
)

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 44_100
LIKE_ENOUGH = 1e-4
DEMO = {"tracks": 24, "rounds": 5}
PUBLISHED = {"tracks": 3, "rounds": 1}


class Work(NamedTuple):
    """A model, recordings of the sizes that it reads, and what is kept of them."""

    model: ClapModel
    plan: RecordingChunks
    paths: list[Path]
    codes: Path
    states: Path

    def code(self) -> list[list[np.ndarray]]:
        """The codes of each chunk of each recording."""
        return [recording_codes(self.model.codec, path, self.plan) for path in self.paths]

    def kept_codes(self) -> list[list[np.ndarray]]:
        return [chunks for _, chunks in read_codes(self.codes)]

    def pool(self, codes: list[list[np.ndarray]]) -> list[np.ndarray]:
        """What MusicGen makes of codes: [chunks, H] of each recording."""
        flat = [chunk for chunks in codes for chunk in chunks]
        ends = np.cumsum([len(chunks) for chunks in codes])[:-1]
        return np.split(decoder_states(self.model.audio_model, flat), ends)

    def kept_states(self) -> list[np.ndarray]:
        store = Store([self.states])
        return [store.get(path.stem) for path in self.paths]

    def vectors(self, states: list[np.ndarray]) -> np.ndarray:
        return np.stack([recording_vector(own) for own in chunk_vectors(self.model, states)])


def write_chords(folder: Path, count: int, seconds: float) -> list[Path]:
    """Stereo WAV files of three tones and some noise, sorted."""
    rng = np.random.default_rng(0)
    moments = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    paths = [folder / f"track{number:03}.wav" for number in range(count)]
    for path in paths:
        pitches = 110 * 2 ** rng.uniform(0, 4, 3)
        wave = 0.1 * np.sin(2 * np.pi * pitches[:, None] * moments).sum(axis=0)
        sound = wave[:, None] + rng.uniform(-0.01, 0.01, (len(moments), 2))
        soundfile.write(path, sound, RATE_HZ)
    return paths


def sections(published: bool) -> dict:
    """The parameters of CLAP-MusicGen."""
    path = ROOT / ("presets/clap-musicgen.yaml" if published else "params.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def write_musicgen(folder: Path, sizes: MusicgenArchitecture | None) -> None:
    """A MusicGen with random weights, of these sizes or of musicgen-small's."""
    if sizes is None:
        write_new_musicgen(folder, CodecConfig(), DecoderConfig(), seed=0)
    else:
        make_musicgen(folder, sizes, seed=0)


def built_model(
    musicgen: Path, reading: MusicgenReading, heads: dict, plan: RecordingChunks
) -> ClapModel:
    """The audio side of a CLAP-MusicGen with a new head."""
    codec, decoder = load_codec(musicgen), load_decoder(musicgen, reading)
    widths = {name: heads[name] for name in ("width", "head_width")}
    config = ClapModelConfig(
        **widths,
        text=None,
        audio=decoder.config,
        codec=codec.config,
        reading=reading,
        chunk_seconds=plan.chunk_seconds,
    )
    with empty_weights():
        model = ClapModel(config)
    model.codec, model.audio_model = codec, decoder
    model.audio_head = ClapModel.new_heads(config)["audio"]
    return model.eval()


def prepare(folder: Path, published: bool, tracks: int) -> Work:
    """Write recordings and a model, and make codes and states of the one by the other."""
    said = sections(published)
    musicgen = folder / "musicgen"
    codes = check(CodesConfig, {"max_rejected_share": 0.0} | said["codes"], "codes")
    write_musicgen(musicgen, codes.new_musicgen)
    codes = codes.model_copy(update={"musicgen": str(musicgen)})
    reading = check(MusicgenReading, said["states"]["reading"], "states.reading")
    plan = codes.recordings
    seconds = plan.start_seconds + plan.chunks * plan.chunk_seconds
    paths = write_chords(folder, tracks, seconds)
    part = folder / "part.parquet"
    rows = [{"id": path.stem, "audio_path": str(path)} for path in paths]
    write_table(part, pa.Table.from_pylist(rows))
    made = folder / "codes.parquet"
    extract_codes(part, None, made, folder / "rejected.parquet", codes, device="cpu")
    pool_codes(made, folder / "states.parquet", musicgen, reading, device="cpu")
    model = built_model(musicgen, reading, said["clap_heads"], plan)
    return Work(model, plan, paths, made, folder / "states.parquet")


def least_seconds(
    works: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[float, object]]:
    """The least CPU seconds of each, and what it gives, in turns; all have run once before."""
    best: dict[str, tuple[float, object]] = {}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            found = work()
            seconds = time.process_time() - start
            best[name] = min(best.get(name, (seconds, found)), (seconds, found), key=lambda b: b[0])
    return best


def print_speeds(work: Work, rounds: int) -> None:
    """One line for each kind of work."""
    works = {
        "codes of recordings": work.code,
        "states of kept codes": lambda: work.pool(work.kept_codes()),
        "vectors of recordings": lambda: work.vectors(work.pool(work.code())),
        "vectors of kept codes": lambda: work.vectors(work.pool(work.kept_codes())),
        "vectors of kept states": lambda: work.vectors(work.kept_states()),
    }
    best = least_seconds(works, rounds)
    whole, vectors = best["vectors of recordings"]
    for name, (seconds, found) in best.items():
        speed = f"{name:24}{len(work.paths) / seconds:10.2f} recordings/s"
        if "vectors of kept" in name:
            error = float(np.abs(found - vectors).max())
            if error >= LIKE_ENOUGH:
                raise SystemExit(f"{name}: differ by {error}")
            speed += f"{whole / seconds:9.1f} x as fast as from recordings"
        print(speed)


def main() -> None:
    """Print what is read and how fast."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--published", action="store_true", help="musicgen-small's sizes")
    parser.add_argument("--tracks", type=int, help="24; published: 3")
    parser.add_argument("--rounds", type=int, help="5; published: 1")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = PUBLISHED if options.published else DEMO
    tracks, rounds = options.tracks or given["tracks"], options.rounds or given["rounds"]
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(Path(folder), options.published, tracks)
        plan, sizes = work.plan, work.model.config.audio
        print(
            f"{tracks} recordings, {plan.chunks} x {plan.chunk_seconds:g} s from second "
            f"{plan.start_seconds:g} on; {sizes.num_hidden_layers} layers of {sizes.hidden_size}; "
            f"{options.threads} thread; CPU seconds, best of {rounds}"
        )
        print_speeds(work, rounds)


if __name__ == "__main__":
    main()
