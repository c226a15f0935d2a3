"""Rank scores and performances for every summary."""

from clamp3.job import Job
from clamp3.config import EvaluateConfig
from clamp3.retrieval.evaluation.clamp2 import evaluate_clamp2

if __name__ == "__main__":
    with Job() as job:
        evaluate_clamp2(
            job.path("embeddings"),
            {"test": job.path("test"), "train": job.path("train")},
            job.path("json"),
            hits_at=job.section("evaluate", EvaluateConfig).hits_at,
        )
