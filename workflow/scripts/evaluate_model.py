"""Rank every held-out piece for every query."""

from clamp3.job import Job
from clamp3.config import EvaluateConfig
from clamp3.retrieval.evaluation.held_out import evaluate_model

if __name__ == "__main__":
    with Job() as job:
        evaluate_model(
            job.paths("embeddings"),
            job.paths("manifests"),
            job.path("out"),
            job.section("evaluate", EvaluateConfig),
            ranks=job.path("ranks"),
            unmatched=job.path("unmatched"),
        )
