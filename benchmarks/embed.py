"""How fast scores and performances are embedded, against a loop that works as the originals do.

    python benchmarks/embed.py [--scores 24] [--performances 6] [--rounds 1] [--threads 1]

Full-size symbolic tower with random weights. The loop takes one file, one window at a time, padded
to 512, as a one-hot matrix through a linear layer, with attention written out, in fp32; the engine
is the one behind `clamp3 embed`, from files to vectors. Both in this process, by turns; CPU seconds
count, on a GPU wall seconds. Several threads count their waiting for each other, too, so one is the
fair number on a busy machine. Inputs are recorded scores and MIDI files where there are some (set
CLAMP3_GOLDENS), else the demo corpus: as many as asked for, of the lengths of all.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measuring import ROOT, peak_megabytes, recorded
from torch.nn import functional

from clamp3 import Embedder, load_model
from clamp3.config import M3Architecture
from clamp3.errors import FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import load_clamp, save_checkpoint
from clamp3.models.clamp import ClampModel, ClampModelConfig
from clamp3.models.pooling import combine, masked_mean, segments
from clamp3.retrieval.embedding.segments import LIKE_ENOUGH, batches_by_length

WINDOW, PATCH_SIZE, WIDTH, LAYERS = 512, 64, 768, 12
BATCH_TOKENS = 8192
SIZES = M3Architecture(
    patch_size=PATCH_SIZE,
    patch_length=WINDOW,
    hidden_size=WIDTH,
    encoder_layers=LAYERS,
    decoder_layers=3,
)


class Timed(NamedTuple):
    """Embeddings [N, D] and the seconds they took."""

    vectors: np.ndarray
    seconds: float


def demo(suffix: str) -> list[Path]:
    """Files of the demo corpus."""
    return sorted((ROOT / "data" / "demo").rglob(f"*{suffix}"))


def spread(texts: Sequence[str], count: int) -> list[str]:
    """`count` of the texts, as long and as short as all of them are."""
    ordered = sorted(texts, key=len)
    count = min(count, len(ordered))
    return [ordered[len(ordered) * (2 * place + 1) // (2 * count)] for place in range(count)]


def converted(sources: Sequence, convert: Callable[[object], str]) -> list[str]:
    """What the sources are converted to; those that fail are left out."""
    found = []
    for source in sources:
        try:
            found.append(convert(source))
        except FormatError:
            continue
    return found


def inputs(kind: str) -> list[str]:
    """Interleaved ABC or MTF of all real pieces that are here."""
    if kind == "scores":
        rows = recorded("scores_music21", ["interleaved_abc"])
        known = [row["interleaved_abc"] for row in rows if row["interleaved_abc"]]
        paths = [] if known else demo(".mxl")[:200]
        return known or converted(paths, lambda one: interleave_abc(musicxml_to_abc(one)))
    sources = [r["midi"] for r in recorded("midi", ["midi"])] or demo(".mid")[:200]
    return converted(sources, midi_to_mtf)


def seconds_now(device: str) -> float:
    """CPU seconds of this process, or wall seconds where a GPU works."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


@torch.inference_mode()
def plain_loop(model: ClampModel, files: Sequence[Path], device: str) -> Timed:
    """The embeddings as the originals make them: a file, a window, a one-hot matrix."""
    encoder, projection = model.encoder("symbolic"), model.projection("symbolic")
    encoder.base.set_attn_implementation("eager")
    start, vectors = seconds_now(device), []
    for file in files:
        patches = torch.from_numpy(encode_patches(file.read_text(encoding="utf-8")))
        plan, found = segments(len(patches), WINDOW), []
        for first, last, _ in plan:
            window = functional.pad(patches[first:last].long(), (0, 0, 0, WINDOW - last + first))
            mask = (torch.arange(WINDOW) < last - first)[None].to(device)
            one_hot = functional.one_hot(window.to(device), 128).reshape(1, WINDOW, -1).float()
            if device != "cpu":
                one_hot = one_hot.cpu().to(device)  # as there
            linear = encoder.patch_embedding
            embedded = functional.linear(one_hot, linear.weight, linear.bias)
            hidden = encoder.base(inputs_embeds=embedded, attention_mask=mask.long())
            found.append(projection(masked_mean(hidden.last_hidden_state, mask))[0])
        vectors.append(combine(torch.stack(found).cpu(), [s.weight for s in plan]).numpy())
    return Timed(np.stack(vectors), seconds_now(device) - start)


def engine(embedder: Embedder, folder: Path, device: str) -> Timed:
    """The embeddings as `clamp3 embed` makes them."""
    start = seconds_now(device)
    found = embedder.embed_files(folder)
    if found.rejected:
        raise SystemExit(f"rejected: {found.rejected}")
    return Timed(found.embeddings, seconds_now(device) - start)


def lengths_of(texts: Sequence[str]) -> list[int]:
    """Of all windows of the pieces."""
    counts = [len(encode_patches(text)) for text in texts]
    return [s.stop - s.start for count in counts for s in segments(count, WINDOW)]


def flop(lengths: Sequence[int]) -> float:
    """Multiplications and additions of the model for windows of these lengths."""
    layer = sum(length * (24 * WIDTH**2 + 4 * length * WIDTH) for length in lengths)
    return LAYERS * layer + 2 * len(lengths) * WIDTH**2


def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """Multiplications and additions a second of a large matrix product, the best of several."""
    size = 2048 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = seconds_now(device)
        left @ right
        best = min(best, seconds_now(device) - start)
    return 2 * size**3 / best


def build_model(folder: Path) -> None:
    """A full-size symbolic tower with random weights as a checkpoint."""
    torch.manual_seed(0)
    config = ClampModelConfig(
        kind="clamp3", width=WIDTH, similarity="dot", text=None, symbolic=SIZES, audio=None
    )
    save_checkpoint(ClampModel(config), folder)


def measure(kind: str, folder: Path, model: Path, rounds: int, device: str) -> None:
    """Print the times of one kind of pieces."""
    files = sorted(folder.iterdir())
    lengths = lengths_of([file.read_text(encoding="utf-8") for file in files])
    worth = LIKE_ENOUGH[torch.device(device).type]
    places = batches_by_length(lengths, BATCH_TOKENS, worth)
    batches = [[lengths[place] for place in batch] for batch in places]
    real = sum(lengths) / sum(len(batch) * max(batch) for batch in batches)
    print(f"{kind}: {len(files)} files, {len(lengths)} windows, {sum(lengths)} patches")
    print(f"  real positions: {real:.1%} in batches, {np.mean(lengths) / WINDOW:.1%} in the loop")
    plain = load_clamp(model, device=device).model
    embedders = {
        "fp32": load_model(model, device=device, towers=["symbolic"], batch_tokens=BATCH_TOKENS),
        "bf16": load_model(
            model,
            device=device,
            towers=["symbolic"],
            batch_tokens=BATCH_TOKENS,
            dtype="bfloat16",
        ),
    }
    loops, engines = [], {name: [] for name in embedders}
    for _ in range(rounds):
        loops.append(plain_loop(plain, files, device))
        for name, embedder in embedders.items():
            engines[name].append(engine(embedder, folder, device))
    loop = min(loops, key=lambda timed: timed.seconds)
    print(f"  loop  {loop.seconds:8.2f} s  {len(lengths) / loop.seconds:7.2f} windows/s")
    for name, timed in engines.items():
        best = min(timed, key=lambda one: one.seconds)
        report(name, best, loop, lengths, device)


def report(name: str, best: Timed, loop: Timed, lengths: Sequence[int], device: str) -> None:
    """Print the time of the engine in one precision, and how far it is from the loop."""
    rate = flop(lengths) / best.seconds
    peak = matmul_rate(torch.float32 if name == "fp32" else torch.bfloat16, device)
    norms = np.linalg.norm(best.vectors, axis=1) * np.linalg.norm(loop.vectors, axis=1)
    cosine = ((best.vectors * loop.vectors).sum(axis=1) / norms).min()
    print(
        f"  {name}  {best.seconds:8.2f} s  {len(lengths) / best.seconds:7.2f} windows/s  "
        f"x{loop.seconds / best.seconds:.2f}  {rate / 1e9:.0f} GFLOP/s, {rate / peak:.0%} of a "
        f"matrix product's {peak / 1e9:.0f}; least cosine with the loop {cosine:.7f}, "
        f"most difference {np.abs(best.vectors - loop.vectors).max():.1e}"
    )


def main() -> None:
    """Measure scores and performances."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scores", type=int, default=24, help="how many files")
    parser.add_argument("--performances", type=int, default=6, help="how many files")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many counts")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        build_model(Path(place) / "model")
        for kind, count in (("scores", options.scores), ("performances", options.performances)):
            folder = Path(place) / kind
            folder.mkdir()
            suffix = ".abc" if kind == "scores" else ".mtf"
            if count:
                everything = inputs(kind)
                for number, text in enumerate(spread(everything, count)):
                    (folder / f"{number:05d}{suffix}").write_text(text, encoding="utf-8")
                share = np.mean(lengths_of(everything)) / WINDOW
                print(f"{kind}: of all {len(everything)}, {share:.1%} of the loop is not padding")
                measure(kind, folder, Path(place) / "model", options.rounds, options.device)
    if options.device != "cpu":
        print(f"peak memory of the GPU {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
    print(f"peak memory {peak_megabytes():.0f} MiB (three models: the loop's, fp32 and bf16)")


if __name__ == "__main__":
    main()
