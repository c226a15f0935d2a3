"""How well the demo's CLaMP 2 finds held-out pieces by summaries, over several seeds.

    python benchmarks/clamp2.py [--seeds 3]

Trains CLaMP 2 as params.yaml says and evaluates it, once for each seed, on the finished
`snakemake clamp2` of this folder. Prints a row for each kind of summary and music: mean ± standard
deviation over the seeds of MRR and R@10, and in brackets the least lower end of their intervals and
chance; then the CPU seconds of training and of evaluation.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

from measuring import mean_and_spread

from clamp3.config import Params, load_params
from clamp3.retrieval.embedding.clamp2_vectors import embed_clamp2
from clamp3.retrieval.evaluation.clamp2 import evaluate_clamp2
from clamp3.training.clamp2 import train_clamp2

DATA = Path("data/clamp2")


def run(params: Params, seed: int) -> tuple[dict, float, float]:
    """The figures by split and direction, and the CPU seconds of training and of evaluation."""
    manifests = {split: DATA / f"{split}.jsonl" for split in ("test", "train")}
    with tempfile.TemporaryDirectory() as folder:
        out, begun = Path(folder), time.process_time()
        train_clamp2(
            settings=params.clamp2,
            train=manifests["train"],
            validation=DATA / "validation.jsonl",
            start=Path(params.clamp2.start),
            out=out / "model",
            metrics=out / "metrics.tsv",
            resume=out / "resume",
            seed=seed,
        )
        trained = time.process_time()
        embed_clamp2({"clamp2": out / "model"}, manifests, out / "vectors", params.embed)
        report = evaluate_clamp2(
            out / "vectors", manifests, out / "e.json", hits_at=params.evaluate.hits_at
        )
    return report["models"]["clamp2"], trained - begun, time.process_time() - trained


def cell(rows: list[dict], name: str) -> str:
    """Mean ± deviation, and in brackets the least lower end and chance."""
    values = [row[name] for row in rows]
    least = min(row["intervals"][name][0] for row in rows)
    chance = rows[0]["chance"][name]
    return f"{mean_and_spread(values)} (≥ {least:.3f}; {chance:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    logging.disable(logging.WARNING)
    params = load_params(Path("params.yaml"))
    runs = [run(params, params.seed + seed) for seed in range(parser.parse_args().seeds)]
    print("| pieces | summaries → music | queries | MRR | R@10 |\n|---|---|---|---|---|")
    for split, directions in runs[0][0].items():
        for name in directions:
            rows = [found[split][name] for found, _, _ in runs]
            cells = [split, name, rows[0]["queries"], cell(rows, "mrr"), cell(rows, "hit@10")]
            print("| " + " | ".join(map(str, cells)) + " |")
    for place, what in ((1, "training"), (2, "evaluation")):
        print(f"CPU s, {what}: " + ", ".join(f"{each[place]:.0f}" for each in runs))


if __name__ == "__main__":
    main()
