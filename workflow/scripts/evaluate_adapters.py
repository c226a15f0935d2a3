"""The LoRA project's evaluation files."""

from pathlib import Path

from clamp3.job import Job
from clamp3.config import EvaluateConfig
from clamp3.retrieval.evaluation.adapters import evaluate_adapters

if __name__ == "__main__":
    with Job() as job:
        evaluate_adapters(
            [Path(path) for path in job.texts("baseline")],
            [Path(path) for path in job.texts("adapted")],
            job.paths("manifests"),
            job.path("out"),
            job.section("evaluate", EvaluateConfig),
        )
