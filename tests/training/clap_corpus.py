"""Chords in WAV files with captions that tell which, and settings for tiny CLAP-MusicGens."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from models.tiny_clap import TEXT, tiny_musicgen, tokenizer
from training.small_corpus import training

from clamp3.config import (
    ClapMusicgenConfig,
    MaskedTextConfig,
    MusicgenReading,
    RecordingChunks,
    TextArchitecture,
)
from clamp3.files import write_jsonl, write_table
from clamp3.retrieval.features.codes import extract_codes, pool_codes

KINDS = {"low hum": 80.0, "middle organ": 420.0, "high whistle": 2600.0}
RATE = 16_000


def settings(folder, text=None, **changes):
    values = {
        "musicgen": str(folder / "musicgen"),
        "new_musicgen": None,
        "codec": None,
        "recordings": RecordingChunks(
            start_seconds=0.1, chunk_seconds=0.4, chunks=2, min_seconds=0.2
        ),
        "reading": MusicgenReading(
            positions="constant", codebooks="aligned", pooling="last", layer=None
        ),
        "max_rejected_share": 0.5,
        "captions": ("tags", "description"),
        "text": TextArchitecture(
            pretrained=None if text is None else str(text),
            vocabulary_size=80,
            hidden_size=TEXT["hidden_size"],
            layers=2,
            heads=1,
            max_tokens=40,
        ),
        "masked_text": MaskedTextConfig(
            mask_share=0.15, training=training(epochs=3, evaluate_by="loss")
        ),
        "width": 24,
        "head_width": 12,
        "fit_heads": False,
        "freeze_text": True,
        "loss": "listmle",
        "standardise": True,
        "logit_scale": 5.0,
        "training": training(epochs=2, dropout=0.0),
    }
    return ClapMusicgenConfig(**values | changes)


def chord(pitch, seed, seconds=1.0, rate=RATE):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * pitch * (n + rng.uniform(0, 0.05)) * time) for n in (1, 2))
    return (0.1 * wave + 0.003 * rng.normal(size=len(time))).astype(np.float32)


def make_sounds(folder, count=18, name="train"):
    """Write `count` recordings, their part with audio_path and their manifest; returns both."""
    folder = Path(folder)
    (folder / name).mkdir(parents=True)
    rows, lines = [], []
    for number in range(count):
        kind = sorted(KINDS)[number % len(KINDS)]
        path = folder / name / f"s{number:02}.wav"
        soundfile.write(path, chord(KINDS[kind], number), RATE)
        piece_id = f"suno/{name}{number:02}"
        rows.append({"id": piece_id, "audio_path": str(path)})
        texts = {"tags": kind.split(), "description": f"a {kind}, take {number % 2}"}
        lines.append({"id": piece_id, "filepaths": [str(path)], **texts})
    part, manifest = folder / f"{name}.parquet", folder / f"{name}.jsonl"
    write_table(part, pa.Table.from_pylist(rows))
    write_jsonl(manifest, lines)
    return part, manifest


def make_states(folder, chosen, name="train"):
    """Codes and states of a part that make_sounds wrote; returns the table of states."""
    codes, states = folder / f"{name}-codes.parquet", folder / f"{name}-states.parquet"
    rejected = folder / f"{name}-rejected.parquet"
    extract_codes(folder / f"{name}.parquet", None, codes, rejected, chosen, device="cpu")
    pool_codes(codes, states, chosen.musicgen, chosen.reading, device="cpu")
    return states


def make_clap_corpus(folder, train, validation):
    """A MusicGen, so many recordings for training and for validation, and the tables of states."""
    tiny_musicgen(folder / "musicgen")
    states = []
    for name, count in (("train", train), ("validation", validation)):
        make_sounds(folder, count, name)
        states.append(make_states(folder, settings(folder), name))
    return states


__all__ = ["KINDS", "chord", "make_sounds", "make_states", "settings", "tiny_musicgen", "tokenizer"]
