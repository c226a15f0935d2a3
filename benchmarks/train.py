"""How long a training step takes: M3 on performances and on scores, CLaMP on texts and both.

    python benchmarks/train.py [--size demo|published] [--rounds 5] [--threads 2]

CPU seconds and seconds of a forward pass, a backward pass and AdamW, best of the rounds, on
made-up pieces: performances of 512 patches, scores of 57, texts of about 100 tokens. The published
size needs 8 GB and minutes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from clamp3.config import ClampConfig, M3Config, Params, load_params
from clamp3.data.pairs import Pair
from clamp3.models.clamp import build_clamp
from clamp3.models.m3 import M3Model
from clamp3.models.tokenizer import train_tokenizer
from clamp3.training.contrast import Contrast, ContrastiveTask, Pieces
from clamp3.training.loop import Task
from clamp3.training.m3 import M3Task
from clamp3.training.music import SymbolicMusic
from clamp3.training.optimization import make_optimizer

WORDS = [
    "slow",
    "fast",
    "bright",
    "dark",
    "reel",
    "jig",
    "waltz",
    "major",
    "minor",
    "violin",
    "flute",
    "organ",
    "dance",
    "song",
]
BATCHES = {"demo": (16, 32), "published": (4, 6)}  # pieces a step: M3, CLaMP


def performance(rng: np.random.Generator) -> str:
    """MTF of 512 patches."""
    notes = [
        f"note_on {rng.integers(0, 480)} 0 {note} 90\nnote_off 240 0 {note} 0\n"
        for note in rng.integers(40, 90, 254)
    ]
    return "ticks_per_beat 480\nset_tempo 500000 0\n" + "".join(notes)


def score(rng: np.random.Generator) -> str:
    """ABC of 57 patches."""
    bars = ["".join(rng.choice(list("CDEFGABcdefg"), rng.integers(4, 24))) for _ in range(52)]
    return 'L:1/8\nM:4/4\nK:C\nV:1 treble nm="Flute"\n' + "".join(f"[V:1]{b}|\n" for b in bars)


def write_pieces(folder: Path, kind: str, count: int) -> list[str]:
    """Files of made-up pieces of one kind, abc or mtf."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.{kind}" for number in range(count)]
    for path in paths:
        path.write_text(score(rng) if kind == "abc" else performance(rng))
    return [str(path) for path in paths]


def m3_task(settings: M3Config, paths: list[str]) -> M3Task:
    """M3 on these files, all in one batch."""
    return M3Task(M3Model(settings.architecture), settings, paths, seed=0)


def clamp_task(config: ClampConfig, settings: M3Config, paths: list[str]) -> ContrastiveTask:
    """Text and symbolic towers on these files, all in one batch."""
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 96)) for _ in paths]
    words = train_tokenizer(texts, config.text.vocabulary_size)
    model = build_clamp(config, words, None, architecture=settings.architecture)
    contrast = Contrast("symbolic", len(paths), "none", 0.0, "dot", 1.0)
    task = ContrastiveTask("bench", model, words, contrast, 0, "")
    pairs = [Pair(path, (path,), {"analysis": t}) for path, t in zip(paths, texts, strict=True)]
    pieces = Pieces(pairs, SymbolicMusic(paths, settings.architecture.patch_size))
    task.learn_from(pieces, pieces)
    return task


def one_step(task: Task, settings: M3Config, count: int) -> Callable[[], None]:
    """A function that trains one step on the same batch each time."""
    learning = {n: p for n, p in task.model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(learning, settings.training)
    batch = task.collate(0, list(range(count)))
    task.model.train()

    def step() -> None:
        task.loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def sized(params: Params, size: str) -> tuple[M3Config, ClampConfig]:
    """The settings of params.yaml with the sizes asked for; windows are 512 patches either way."""
    architecture = params.m3.architecture.model_copy(update={"patch_length": 512})
    text, width = params.clamp3.text, params.clamp3.width
    if size == "published":
        large = {"hidden_size": 768, "encoder_layers": 12, "decoder_layers": 3}
        architecture = architecture.model_copy(update=large)
        text = text.model_copy(update={"hidden_size": 768, "layers": 12, "heads": 12})
        width = 768
    return (
        params.m3.model_copy(update={"architecture": architecture}),
        params.clamp3.model_copy(update={"text": text, "width": width}),
    )


def best(step: Callable[[], None], rounds: int) -> tuple[float, float]:
    """CPU seconds and seconds of the fastest round, after one to warm up."""
    step()
    times = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        step()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def main() -> None:
    """Print one line for each kind of step."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=sorted(BATCHES), default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    settings, config = sized(load_params(Path("params.yaml")), options.size)
    of_m3, of_clamp = BATCHES[options.size]
    with tempfile.TemporaryDirectory() as folder:
        scores = write_pieces(Path(folder), "abc", of_clamp)
        performances = write_pieces(Path(folder), "mtf", of_clamp)
        mixed = scores[: of_clamp // 2] + performances[: of_clamp // 2]
        for name, make, paths in (
            ("M3, performances", lambda p: m3_task(settings, p), performances[:of_m3]),
            ("M3, scores", lambda p: m3_task(settings, p), scores[:of_m3]),
            ("CLaMP, scores", lambda p: clamp_task(config, settings, p), scores),
            ("CLaMP, mixed", lambda p: clamp_task(config, settings, p), mixed),
        ):
            cpu, wall = best(one_step(make(paths), settings, len(paths)), options.rounds)
            print(f"{name:18} {len(paths):3} pieces: {cpu:7.2f} CPU s, {wall:7.2f} s a step")


if __name__ == "__main__":
    main()
