"""What a change of params.yaml does to held-out retrieval, over several seeds.

    python benchmarks/experiments.py [NAME …] [--seeds 3] [--manifests data/manifests] [--work DIR]

Trains M3 and CLaMP 3 and evaluates on the finished `snakemake manifest` of this folder, once for
each variant and seed, in one process. Prints a row per variant: mean ± standard deviation over the
seeds of R@10 and MRR from text to scores, performances and recordings, and the CPU seconds of
training. Without a NAME it lists the variants.
"""

import argparse
import copy
import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import yaml
from measuring import mean_and_spread

from clamp3.config import ClampStage, Params, check
from clamp3.retrieval.embedding.collection import embed_model
from clamp3.retrieval.evaluation.held_out import evaluate_model
from clamp3.training.batches import shuffled_batches
from clamp3.training.clamp import make_tokenizer, train_clamp_stage
from clamp3.training.m3 import train_m3

SYMBOLIC = "clamp3.stages.symbolic"
BEFORE = {  # what the demo trained with until 2026-11-21
    "m3.architecture.patch_length": 128,
    "clamp3.similarity": "dot",
    "clamp3.logit_scale": 1.0,
    f"{SYMBOLIC}.tower_rates.embeddings": 1.0,
    f"{SYMBOLIC}.tower_rates.text": 1.0,
    f"{SYMBOLIC}.instrument_dropout": 0.3,
    f"{SYMBOLIC}.training.epochs": 90,
    f"{SYMBOLIC}.training.batch_size": 32,
    f"{SYMBOLIC}.training.learning_rate": 1.0e-3,
    f"{SYMBOLIC}.training.warmup_steps": 20,
    f"{SYMBOLIC}.training.schedule": "constant",
}
SYMBOLIC_FIRST = {f"{SYMBOLIC}.tower_rates.text": 1.0, f"{SYMBOLIC}.training.epochs": 90}
SHORT = SYMBOLIC_FIRST | {
    f"{SYMBOLIC}.training.epochs": 10,
    f"{SYMBOLIC}.training.warmup_steps": 60,
}
# Changes of params.yaml by dotted key. "order" and "m3_batches" are no keys of params.yaml: see
# `_stages` and `_m3_batches`.
VARIANTS: dict[str, dict] = {
    "demo": {"order": "params"},
    "demo-without-m3": {"order": "params", "clamp3.start_from_m3": False},
    "text-rate-1": {"order": "params", f"{SYMBOLIC}.tower_rates.text": 1.0},
    "text-rate-0.3": {"order": "params", f"{SYMBOLIC}.tower_rates.text": 0.3},
    "symbolic-first": SYMBOLIC_FIRST | {"order": "sa"},
    "before": BEFORE | {"order": "sa"},
    "short": SHORT,
    "short-embeddings-x1": SHORT | {f"{SYMBOLIC}.tower_rates.embeddings": 1.0},
    "short-constant-rate": SHORT | {f"{SYMBOLIC}.training.schedule": "constant"},
    "short-dot": SHORT | {"clamp3.similarity": "dot", "clamp3.logit_scale": 1.0},
    "short-cosine-1": SHORT | {"clamp3.logit_scale": 1.0},
    "short-learned-scale": SHORT | {"clamp3.learn_scale": True},
    "short-mask-duplicates": SHORT | {"clamp3.mask_duplicates": True},
    "short-without-m3": SHORT | {"clamp3.start_from_m3": False},
    "short-random-m3-batches": SHORT | {"m3_batches": "random"},
    "short-instrument-dropout": SHORT | {f"{SYMBOLIC}.instrument_dropout": 0.3},
    "short-sa": SHORT | {"order": "sa"},
    "short-as": SHORT | {"order": "as"},
    "short-saas": SHORT | {"order": "saas"},
}
MODALITIES = ("abc", "mtf", "audio")
TEXT_FROZEN = {
    "s": (False,),
    "sa": (False, True),
    "as": (False, True),
    "saas": (False, True, False, True),
}


def overlaid(values: dict, changes: dict) -> dict:
    """A copy of nested `values` with the dotted keys of `changes` replaced."""
    result = copy.deepcopy(values)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = result
        for name in parents:
            section = section[name]
        section[last] = value
    return result


class Experiment:
    """One variant with one seed: models and figures in a folder of its own."""

    def __init__(self, changes: dict, seed: int, manifests: Path, work: Path):
        changes = dict(changes)
        self.order = changes.pop("order", "s")
        self.m3_batches = changes.pop("m3_batches", "bucketed")
        raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        self.params = check(Params, overlaid(raw, changes), "params.yaml")
        self.seed, self.manifests, self.work = seed, manifests, work
        kept = [self.params.model_dump_json(), self.order, self.m3_batches, seed, str(manifests)]
        self.folder = work / _key(*kept)

    def figures(self) -> dict[str, float]:
        """CPU seconds of training, and R@10 and MRR from text to each modality."""
        seconds = self._train()
        tested = self._split("test", MODALITIES if self.order != "s" else MODALITIES[:2])
        vectors, results = self.folder / "embeddings", self.folder / "results.json"
        embed_model(self.folder / "model", tested, vectors, self.params.embed)
        report = evaluate_model(
            sorted(vectors.glob("*/*.parquet")), tested, results, self.params.evaluate
        )
        found = {"seconds": seconds}
        for modality in MODALITIES:
            task = report["collections"]["pdmx"].get(f"text_to_{modality}")
            if task:
                found[f"{modality} R@10"] = task["hit@10"]
                found[f"{modality} MRR"] = task["mrr"]
        return found

    def _train(self) -> float:
        m3, seconds = self._m3()
        tokenizer = self.folder / "tokenizer"
        texts = self._split("train", MODALITIES)
        make_tokenizer(manifests=texts, out=tokenizer, settings=self.params.clamp3.text, start=m3)
        begun, start = time.process_time(), m3
        for place, (name, stage) in enumerate(_stages(self.params, self.order)):
            kinds = ("abc", "mtf") if stage.modality == "symbolic" else ("audio",)
            out = self.folder / f"stage-{place}"
            train_clamp_stage(
                name=f"{place}-{name}",
                stage=stage,
                config=self.params.clamp3,
                manifests_train=self._split("train", kinds),
                manifests_validation=self._split("validation", kinds),
                start=start,
                tokenizer=tokenizer,
                out=out,
                metrics=self.folder / f"{place}-{name}.tsv",
                resume=self.folder / "resume",
                seed=self.seed,
            )
            start = out
        start.rename(self.folder / "model")
        return seconds + time.process_time() - begun

    def _m3(self) -> tuple[Path, float]:
        """The folder of M3 and the CPU seconds of its training; variants share it."""
        values = self.params.m3.model_dump_json(), self.m3_batches
        folder = self.work / f"m3-{_key(*values, self.seed, str(self.manifests))}"
        if not folder.exists():
            begun = time.process_time()
            with _m3_batches(self.m3_batches):
                train_m3(
                    manifests=self._split("train", ("abc", "mtf")),
                    validation=self._split("validation", ("abc", "mtf")),
                    out=folder,
                    metrics=folder.with_suffix(".tsv"),
                    resume=self.work / "resume",
                    settings=self.params.m3,
                    seed=self.seed,
                )
            seconds = time.process_time() - begun
            folder.with_suffix(".seconds").write_text(str(seconds))
        return folder, float(folder.with_suffix(".seconds").read_text())

    def _split(self, split: str, modalities: tuple[str, ...]) -> list[Path]:
        return [self.manifests / f"pdmx-{modality}-{split}.jsonl" for modality in modalities]


def _key(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


def _stages(params: Params, order: str) -> list[tuple[str, ClampStage]]:
    """The stages in the order of params, or in one such as saas.

    In the latter case stages of one modality share its epochs, and the text tower is frozen where
    the published models' stages freeze it.
    """
    if order == "params":
        return list(params.clamp3.stages.items())
    chosen = []
    for letter, frozen in zip(order, TEXT_FROZEN[order], strict=True):
        name = {"s": "symbolic", "a": "audio"}[letter]
        stage = params.clamp3.stages[name]
        epochs = max(1, stage.training.epochs // order.count(letter))
        training = stage.training.model_copy(update={"epochs": epochs})
        changes = {"training": training, "freeze_text": frozen}
        chosen.append((name, stage.model_copy(update=changes)))
    return chosen


@contextmanager
def _m3_batches(kind: str) -> Iterator[None]:
    """Make M3 train on batches of like length (as it does), or on batches drawn at random."""

    def drawn(lengths: list[int], size: int, rng: np.random.Generator) -> list[list[int]]:
        return shuffled_batches(len(lengths), size, rng, smallest=1)

    if kind == "bucketed":
        yield
        return
    with patch("clamp3.training.m3.bucketed_batches", drawn):
        yield


def row(name: str, runs: list[dict[str, float]]) -> str:
    """One line of the table: mean ± standard deviation of each figure."""
    cells = []
    for column in runs[0]:
        values = [run[column] for run in runs]
        cells.append(f"{column} {mean_and_spread(values, 0 if column == 'seconds' else 3)}")
    return f"{name:28} " + "  ".join(cells)


def main() -> None:
    """Run the named variants and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*VARIANTS, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--manifests", type=Path, default=Path("data/manifests"))
    parser.add_argument("--work", type=Path, help="keep models and results here")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if not options.names:
        for name, changes in VARIANTS.items():
            print(f"{name:28} {changes}")
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        for name in options.names:
            seeds = range(options.seeds)
            runs = [
                Experiment(VARIANTS[name], seed, options.manifests, work).figures()
                for seed in seeds
            ]
            print(row(name, runs), flush=True)


if __name__ == "__main__":
    main()
