"""How much memory one contrastive step takes, the batch whole and in chunks.

    python benchmarks/chunks.py [--sizes 64:64 64:8 256:256 512:8 4096:8]

Each BATCH:CHUNK in a process of its own, on a CPU in fp32, with the demo's model on made-up pieces
of 128 patches and 128 tokens: what the step adds to the peak of the process. Equal batches have
equal losses.
"""

import argparse
import subprocess
import sys

import torch
from accelerate import Accelerator
from measuring import ROOT, peak_megabytes

from clamp3.config import load_params
from clamp3.models.clamp import build_clamp
from clamp3.models.tokenizer import train_tokenizer
from clamp3.training.batches import Padded
from clamp3.training.contrast import Contrast, ContrastiveTask, PairBatch
from clamp3.training.two_pass import backward_in_chunks

LENGTH = 128  # patches, and tokens, of a piece


def made_up(count: int) -> tuple[ContrastiveTask, PairBatch]:
    """The demo's model and a batch of random pieces."""
    params = load_params(ROOT / "params.yaml")
    words = train_tokenizer(["A reel in G major."], 40)
    torch.manual_seed(0)
    model = build_clamp(params.clamp3, words, None, architecture=params.m3.architecture)
    rows, mask = torch.arange(count), torch.ones(count, LENGTH)
    tokens = torch.randint(4, len(words), (count, LENGTH))
    patches = torch.randint(1, 128, (count, LENGTH, 64), dtype=torch.uint8)
    batch = PairBatch([], [Padded(rows, tokens, mask)], [Padded(rows, patches, mask)], rows)
    contrast = Contrast("symbolic", count, "none", 0.0, "dot", 1.0)
    return ContrastiveTask("memory", model, words, contrast, 0, ""), batch


def step(count: int, chunk: int) -> None:
    """Print what one step adds to the peak."""
    torch.set_num_threads(1)
    task, batch = made_up(count)
    before = peak_megabytes()
    if chunk < count:
        loss = backward_in_chunks(task, task.loss, batch, chunk, Accelerator(cpu=True))
    else:
        loss = task.loss(batch)
        loss.backward()
    added = peak_megabytes() - before
    print(f"batch {count:5}  chunk {chunk:5}  {added:6.0f} MB  loss {loss.item():.4f}")


def main() -> None:
    """Run each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sizes", nargs="+", default=["64:64", "64:8", "256:256", "512:8", "4096:8"]
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step(*map(int, options.one.split(":")))
        return
    for size in options.sizes:
        subprocess.run([sys.executable, __file__, "--one", size], check=True)


if __name__ == "__main__":
    main()
