"""How long a training step takes, against one that computes on padding as the originals do.

    python benchmarks/train.py [--size published|demo] [--rounds 1] [--threads 1]

M3 on performances and on scores, CLaMP 3 on texts and scores: forward, backward and AdamW on one
batch, with real pieces where there are recordings of them (set CLAMP3_GOLDENS) and the demo corpus
else. The plain step pads to 512 patches of 64 characters and 128 tokens, multiplies one-hot
matrices, writes attention out and decodes all 64 characters of every patch; both have the same
weights and the loss of both is printed. By turns, CPU seconds (on a GPU wall seconds). Then how
fast batches are made by 0, 1 and 2 workers, how much longer it takes to read texts of M4-RAG's
lengths from their manifest than to hold them, and how much of its time a training waits for data.
The published size needs 12 GB and some minutes; on a GPU it also tells the share of the device's
speed and the largest batch of pairs that fits.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from embed import inputs, matmul_rate, seconds_now, spread
from made_corpora import write_pairs
from measuring import ROOT, peak_megabytes
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers.activations import ACT2FN
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from clamp3.config import ClampConfig, M3Config, Params, load_params
from clamp3.data.manifests import read_manifest
from clamp3.data.pairs import Pair, load_pairs
from clamp3.files import write_jsonl
from clamp3.models.clamp import build_clamp
from clamp3.models.m3 import CHARACTERS, PAD, M3Model, PatchEncoder
from clamp3.models.tokenizer import train_tokenizer
from clamp3.randomness import generator
from clamp3.training.batches import Padded
from clamp3.training.contrast import Contrast, ContrastiveTask, PairBatch, Pieces, said_of
from clamp3.training.loader import BatchLoader
from clamp3.training.m3 import M3Batch, M3Task
from clamp3.training.music import SymbolicMusic
from clamp3.training.optimization import make_optimizer, set_dropout
from clamp3.training.task import Batch, Task

WINDOW, TOKENS = 512, 128
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SUFFIXES = {"performances": "mtf", "scores": "abc"}
PAIRS = 640  # of which batches are made with texts read and held
TRIED_PAIRS = 2**16  # at most, when the largest batch is looked for


@dataclass(frozen=True)
class Step:
    """A task with one of its batches, and the loss of that batch computed on padding."""

    name: str
    task: Task
    batch: Batch
    plain_loss: Callable[[], Tensor]
    attention: list[nn.Module]  # what can write its attention out


def write_pieces(folder: Path, kind: str, count: int) -> list[str]:
    """Files of real pieces, as long and as short as all there are."""
    paths = [folder / f"{number}.{SUFFIXES[kind]}" for number in range(count)]
    for path, text in zip(paths, spread(inputs(kind), count), strict=False):
        path.write_text(text, encoding="utf-8")
    found = [str(path) for path in paths if path.exists()]
    if not found:
        raise SystemExit("no recordings, and no demo corpus: run `snakemake corpus`")
    return found


def sized(params: Params, size: str) -> tuple[M3Config, ClampConfig]:
    """The settings of params.yaml with the sizes asked for; windows are 512 patches either way."""
    architecture = params.m3.architecture.model_copy(update={"patch_length": WINDOW})
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


def m3_step(name: str, settings: M3Config, paths: list[str], device: torch.device) -> Step:
    """M3 on all these files at once."""
    model = M3Model(settings.architecture).to(device)
    task = M3Task(model, settings, paths, seed=0)
    batch = task.collate(0, list(range(len(paths)))).to(device)
    attention = [model.encoder.base, model.decoder.base]
    return Step(name, task, batch, lambda: plain_m3_loss(model, batch), attention)


def clamp_step(
    name: str, settings: M3Config, config: ClampConfig, paths: list[str], device: torch.device
) -> Step:
    """Text and symbolic towers on all these files at once; each text is a score's first lines."""
    task = clamp_task(settings, config, paths, device)
    batch = task.collate(0, list(range(len(paths)))).to(device)
    attention = [task.model.symbolic_model.base, task.model.text_model]
    return Step(name, task, batch, lambda: plain_clamp_loss(task, batch), attention)


def clamp_task(
    settings: M3Config, config: ClampConfig, paths: list[str], device: torch.device
) -> ContrastiveTask:
    """Contrastive learning on these files."""
    texts = [Path(path).read_text(encoding="utf-8")[:300].replace("\n", " ") for path in paths]
    words = train_tokenizer(texts, config.text.vocabulary_size)
    model = build_clamp(config, words, None, architecture=settings.architecture).to(device)
    contrast = Contrast("symbolic", len(paths), "none", 0.0, "dot", 1.0)
    task = ContrastiveTask("bench", model, words, contrast, 0, "")
    pairs = [Pair(path, (path,), {"analysis": t}) for path, t in zip(paths, texts, strict=True)]
    music = SymbolicMusic(paths, settings.architecture.patch_size)
    pieces = Pieces(pairs, music, b"".join(map(said_of, pairs)))
    task.learn_from(pieces, pieces)
    return task


def plain_hidden(encoder: PatchEncoder, patches: Tensor, mask: Tensor) -> Tensor:
    """The hidden states of patches padded to the window, through one-hot matrices."""
    missing = WINDOW - patches.shape[1]
    patches = functional.pad(patches.long(), (0, 0, 0, missing))
    one_hot = functional.one_hot(patches, CHARACTERS).flatten(start_dim=2).float()
    linear = encoder.patch_embedding
    embedded = functional.linear(one_hot, linear.weight, linear.bias)
    mask = functional.pad(mask, (0, missing))
    return encoder.base(inputs_embeds=embedded, attention_mask=mask).last_hidden_state


def plain_m3_loss(model: M3Model, batch: M3Batch) -> Tensor:
    """The loss with every patch decoded to its last place."""
    hidden = plain_hidden(model.encoder, batch.inputs, batch.mask)[:, : batch.mask.shape[1]]
    chosen = batch.selected.bool()
    targets = batch.targets[chosen].long()
    logits = model.decoder(hidden[chosen], targets)[:, :-1].float()
    return functional.cross_entropy(logits.transpose(1, 2), targets[:, 1:], ignore_index=PAD)


def plain_clamp_loss(task: ContrastiveTask, batch: PairBatch) -> Tensor:
    """The contrastive loss with texts and scores padded to the windows of their towers."""
    model, vectors = task.model, []
    tokens, mask, rows = whole(batch.texts, TOKENS, task.tokenizer.pad_token_id)
    vectors.append(model.encode_text(tokens, mask)[torch.argsort(rows)])
    patches, mask, rows = whole(batch.music, WINDOW, PAD)
    hidden = plain_hidden(model.encoder("symbolic"), patches, mask)
    vectors.append(model.project("symbolic", hidden, mask)[torch.argsort(rows)])
    return task.compare(vectors, batch, None)


def whole(groups: list[Padded], length: int, fill: int) -> tuple[Tensor, Tensor, Tensor]:
    """Groups of a batch as one tensor, padded to a length; its mask, and the members' places."""

    def longer(values: Tensor, value: int) -> Tensor:
        missing = [0, 0] * (values.ndim - 2) + [0, length - values.shape[1]]
        return functional.pad(values, missing, value=value)

    values = torch.cat([longer(group.values, fill) for group in groups])
    masks = torch.cat([longer(group.mask, 0) for group in groups])
    return values, masks, torch.cat([group.rows for group in groups])


@contextmanager
def written_out(step: Step) -> Iterator[None]:
    """Attention and GELU in single operations, as the originals' library has them."""
    layers = [module for module in step.task.model.modules() if isinstance(module, GPT2MLP)]
    for attention, gelu in (("eager", "gelu_new"), ("sdpa", "gelu_pytorch_tanh")):
        for module in step.attention:
            module.set_attn_implementation(attention)
        for layer in layers:
            layer.act = ACT2FN[gelu]
        if attention == "eager":
            yield


def measure(step: Step, settings: M3Config, precision: str, rounds: int, device: str) -> None:
    """Print what our step and the plain one take, best of the rounds."""
    learning = {n: p for n, p in step.task.model.named_parameters() if p.requires_grad}
    set_dropout(step.task.model, 0.0)
    # Weights that stay as they are cost AdamW the same and let the losses be compared.
    still = settings.training.model_copy(update={"learning_rate": 1e-30})
    optimizer = make_optimizer(learning, still)

    def run(loss_of: Callable[[], Tensor]) -> tuple[float, float]:
        begun = seconds_now(device)
        half = torch.autocast(device, DTYPES[precision], enabled=precision != "fp32")
        with half:
            loss = loss_of()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return seconds_now(device) - begun, loss.item()

    def ours() -> Tensor:
        return step.task.loss(step.batch)

    with FlopCounterMode(display=False) as counter:
        run(ours)
    own, plain = [], []
    for _ in range(rounds):
        own.append(run(ours))
        with written_out(step):
            plain.append(run(step.plain_loss))
    (seconds, loss), (slow, plain_loss) = min(own), min(plain)
    rate, peak = counter.get_total_flops() / seconds, matmul_rate(DTYPES[precision], device)
    print(
        f"{step.name:18} {precision}  {len(step.batch.ids)} pieces  plain {slow:7.2f} s  "
        f"ours {seconds:7.2f} s  x{slow / seconds:.2f}  {rate / 1e9:6.0f} GFLOP/s, "
        f"{rate / peak:.0%} of a matrix product's; loss {plain_loss:.6f} and {loss:.6f}",
        flush=True,
    )


def loading(task: ContrastiveTask, batch_size: int) -> None:
    """Print how many pieces a second become batches, by the number of workers."""
    count = len(task.pieces.pairs)
    dealt = [list(range(s, min(s + batch_size, count))) for s in range(0, count, batch_size)]
    for workers in (0, 1, 2):
        loader = BatchLoader(task, workers, torch.device("cpu"))
        list(loader.batches(0, dealt))  # workers start
        begun = time.perf_counter()
        rounds = 3
        for epoch in range(1, rounds + 1):
            list(loader.batches(epoch, dealt))
        seconds = time.perf_counter() - begun
        print(f"batches made by {workers} workers: {rounds * count / seconds:.0f} pieces/s")


def reading(task: ContrastiveTask, folder: Path, batch_size: int) -> None:
    """Print what batches cost whose texts are read from their manifest, and held in memory."""
    write_pairs(folder / "long.jsonl", PAIRS)
    kept = [pair.filepaths for pair in task.pieces.pairs]
    lines = read_manifest(folder / "long.jsonl")
    own = [line | {"filepaths": kept[n % len(kept)]} for n, line in enumerate(lines)]
    write_jsonl(folder / "long.jsonl", own)
    read = load_pairs([folder / "long.jsonl"])
    order = generator(0, "reading").permutation(len(read)).tolist()
    seconds: dict[str, list[float]] = {"held": [], "read": []}
    for epoch in range(5):
        for how, pairs in (("held", list(read)), ("read", read)):
            task.pieces = replace(task.pieces, pairs=pairs)
            begun = time.process_time()
            for start in range(0, len(order), batch_size):
                task.collate(epoch, order[start : start + batch_size])
            seconds[how].append(time.process_time() - begun)
    held, own = (1000 * min(seconds[how]) / len(order) for how in ("held", "read"))
    print(f"a pair of long texts: held {held:.3f} ms, read {own:.3f} ms, x{own / held:.2f}")


def waiting(task: ContrastiveTask, settings: M3Config, batch_size: int) -> None:
    """Print the share of its time that a training waits for data, without and with a worker."""
    learning = dict(task.model.named_parameters())
    optimizer = make_optimizer(learning, settings.training)
    count = len(task.pieces.pairs)
    dealt = [list(range(s, min(s + batch_size, count))) for s in range(0, count, batch_size)]
    for workers in (0, 1):
        loader = BatchLoader(task, workers, torch.device("cpu"))
        begun = time.perf_counter()
        for batch in loader.batches(0, dealt):
            task.loss(batch).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        share = loader.waited_seconds / (time.perf_counter() - begun)
        print(f"demo size, {workers} workers: waited {share:.1%} of the time for data")


def largest_batch(settings: M3Config, config: ClampConfig, paths: list[str]) -> int:
    """The largest power of two of pairs whose step fits into the GPU, computed all at once."""
    device, pairs = torch.device("cuda"), 2
    task = clamp_task(settings, config, paths, device)
    while pairs <= TRIED_PAIRS:
        members = [number % len(paths) for number in range(pairs)]
        try:
            with torch.autocast("cuda", torch.bfloat16):
                loss = task.loss(task.collate(0, members).to(device))
            loss.backward()
        except torch.OutOfMemoryError:
            break
        task.model.zero_grad(set_to_none=True)
        pairs *= 2
    return pairs // 2


def main() -> None:
    """Measure steps, then the making of batches."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=["demo", "published"], default="published")
    parser.add_argument("--precision", nargs="+", choices=sorted(DTYPES), default=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    params = load_params(ROOT / "params.yaml")
    settings, config = sized(params, options.size)
    small, small_config = sized(params, "demo")
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as place:
        paths = {kind: write_pieces(Path(place), kind, 64) for kind in SUFFIXES}
        some = {
            kind: [found[n * len(found) // 4] for n in range(4)] for kind, found in paths.items()
        }
        six = [paths["scores"][n * len(paths["scores"]) // 6] for n in range(6)]
        for make in (
            lambda: m3_step("M3, performances", settings, some["performances"], device),
            lambda: m3_step("M3, scores", settings, some["scores"], device),
            lambda: clamp_step("CLaMP 3, scores", settings, config, six, device),
        ):
            step = make()
            for precision in options.precision:
                measure(step, settings, precision, options.rounds, options.device)
            del step
        task = clamp_task(small, small_config, paths["scores"], torch.device("cpu"))
        task.contrast = replace(task.contrast, instrument_dropout=0.9)
        loading(task, 32)
        waiting(task, small, 32)
        task.contrast = replace(task.contrast, text_dropout="clamp3")
        reading(task, Path(place), 32)
        if options.device == "cuda":
            print(f"peak memory of the GPU {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
            print(f"largest batch, bf16: {largest_batch(settings, config, six)} pairs")
    print(f"peak memory {peak_megabytes() / 1024:.1f} GiB")


if __name__ == "__main__":
    main()
