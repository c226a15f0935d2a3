"""How long a model of the published size takes to load, and what of it is read.

    python benchmarks/load.py

A full-size CLaMP 3 with random weights is written to a temporary folder (2 × 1.8 GB: as a
checkpoint folder and in the originals' layout). Each line is the best of `--rounds` with a warm
file cache; imports are a line of their own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measuring import best_seconds

from clamp3.config import M3Architecture
from clamp3.models.checkpoints import load_clamp, save_checkpoint
from clamp3.models.clamp import AudioTowerConfig, ClampModel, ClampModelConfig
from clamp3.models.exchange import export_weights
from clamp3.models.published import read_published
from clamp3.models.text import TextTowerConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"{'imports':24}{best_seconds(import_all, rounds, time.perf_counter):6.2f} s")
    with tempfile.TemporaryDirectory() as workplace:
        folder = Path(workplace) / "model"
        save_checkpoint(full_size(), folder)
        pth = export_weights(folder, Path(workplace))
        for towers in (("text",), ("symbolic",), ("audio",), ("text", "symbolic", "audio")):
            read = sum((folder / f"{tower}.safetensors").stat().st_size for tower in towers)
            report(", ".join(towers), partial(load_clamp, folder, towers=towers), read, rounds)
        size = pth.stat().st_size
        mapped = partial(torch.load, pth, weights_only=True, mmap=True)
        report(".pth, torch.load mmap", mapped, size, rounds)
        report(".pth, torch.load", partial(torch.load, pth, weights_only=True), size, rounds)
        report(".pth, read_published", partial(read_published, pth), size, rounds)


def report(name: str, load: Callable[[], object], size: int, rounds: int) -> None:
    """Print the wall seconds of the fastest call, and the megabytes that it reads."""
    seconds = best_seconds(load, rounds, time.perf_counter)
    print(f"{name:24}{seconds:6.2f} s{size / 1e6:8.0f} MB")


def published_text(vocab_size: int = 250_002) -> TextTowerConfig:
    """The text tower as published, but for its vocabulary."""
    return TextTowerConfig(
        vocab_size=vocab_size,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        max_tokens=128,
    )


def full_size() -> ClampModel:
    """CLaMP 3 as published, with random weights."""
    text = published_text()
    symbolic = M3Architecture(
        patch_size=64, patch_length=512, hidden_size=768, encoder_layers=12, decoder_layers=3
    )
    audio = AudioTowerConfig(hidden_size=768, layers=12, max_frames=128, feature_size=768)
    return ClampModel(
        ClampModelConfig(
            kind="clamp3", width=768, similarity="dot", text=text, symbolic=symbolic, audio=audio
        )
    )


def import_all() -> None:
    """What `load_clamp` needs, in a process of its own."""
    code = "import clamp3.models.checkpoints"
    subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
