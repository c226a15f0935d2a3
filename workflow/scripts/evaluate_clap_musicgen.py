"""Rank held-out recordings by captions and by each other, with CLAP-MusicGen."""

from clamp3.job import Job
from clamp3.config import ClapEvaluationConfig, PipelineTextConfig
from clamp3.data.listing import listed_parts
from clamp3.retrieval.evaluation.clap import evaluate_clap

if __name__ == "__main__":
    with Job() as job:
        evaluate_clap(
            job.path("model"),
            job.path("manifest"),
            listed_parts(job.path("states"))[0],
            job.section("clap_text", PipelineTextConfig).captions,
            job.path("json"),
            hits_at=job.section("clap_musicgen", ClapEvaluationConfig).hits_at,
        )
