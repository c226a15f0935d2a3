"""What CLAP-MusicGen's listwise loss is worth beside others: equal training, several seeds.

    python benchmarks/ranking_losses.py [--seeds 3]

After `snakemake states clap_text`: trains the heads of params.yaml with each loss, everything else
as it is, and prints mean ± standard deviation of the figures on held-out recordings, with what
chance would give. Standardised scores are the published form of ListMLE; InfoNCE knows none.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path

import yaml
from measuring import mean_and_spread

from clamp3.config import ClapMusicgenConfig, Params, check
from clamp3.data.listing import listed_parts
from clamp3.retrieval.evaluation.clap import evaluate_clap
from clamp3.training.clap_musicgen import train_clap_musicgen

VARIANTS = {
    "listmle, standardised (published)": {"loss": "listmle", "standardise": True},
    "listmle": {"loss": "listmle", "standardise": False},
    "listnet, standardised": {"loss": "listnet", "standardise": True},
    "listnet": {"loss": "listnet", "standardise": False},
    "infonce": {"loss": "infonce", "standardise": False},
}
MANIFEST = "data/manifests/pdmx-audio-{}.jsonl"


def figures(settings: ClapMusicgenConfig, seed: int, hits_at: tuple[int, ...]) -> dict[str, float]:
    """CPU seconds of a training, and what came of it; chance under the same names in capitals."""
    states = listed_parts(Path("data/states/parts.tsv"))[0]
    with tempfile.TemporaryDirectory() as folder:
        out, begun = Path(folder), time.process_time()
        train_clap_musicgen(
            manifests_train=[Path(MANIFEST.format("train"))],
            manifests_validation=[Path(MANIFEST.format("validation"))],
            states=states,
            text_model="results/models/clap_text",
            out=out / "model",
            metrics=out / "metrics.tsv",
            resume=out / "resume",
            settings=settings,
            seed=seed,
        )
        seconds = time.process_time() - begun
        held_out = Path(MANIFEST.format("test"))
        report = evaluate_clap(
            out / "model", held_out, states, settings.captions, out / "e.json", hits_at=hits_at
        )
    asked, alike = report["text_to_audio"], report["audio_to_audio"]["graded"]
    found = asked["figures"]["mean"] | {"ndcg@5": asked["graded"]["ndcg@5"]}
    chance = asked["chance"] | {"ndcg@5": asked["graded"]["chance"]["ndcg@5"]}
    return {
        "MRR": (found["mrr"], chance["mrr"]),
        "R@10": (found["hit@10"], chance["hit@10"]),
        "graded nDCG@5": (found["ndcg@5"], chance["ndcg@5"]),
        "audio→audio nDCG@5": (alike["ndcg@5"], alike["chance"]["ndcg@5"]),
        "CPU s": (seconds, None),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    logging.disable(logging.WARNING)
    params = check(Params, yaml.safe_load(Path("params.yaml").read_text("utf-8")), "params.yaml")
    settings = ClapMusicgenConfig.of(
        params.codes, params.states, params.clap_text, params.clap_heads
    )
    for name, changes in VARIANTS.items():
        changed = settings.model_copy(update=changes)
        runs = [figures(changed, seed, params.clap_musicgen.hits_at) for seed in seeds]
        print(f"{name:34} " + "  ".join(cell(key, runs) for key in runs[0]), flush=True)


def cell(name: str, runs: list[dict]) -> str:
    """Mean ± deviation, and chance in brackets."""
    values = [run[name][0] for run in runs]
    if runs[0][name][1] is None:
        return f"{name} {statistics.mean(values):.0f}"
    return f"{name} {mean_and_spread(values)} ({runs[0][name][1]:.3f})"


if __name__ == "__main__":
    main()
