"""Embed pieces and their summaries by CLaMP 2, and by CLaMP 3."""

from clamp3.job import Job
from clamp3.config import EmbedConfig
from clamp3.retrieval.embedding.clamp2_vectors import embed_clamp2

if __name__ == "__main__":
    with Job() as job:
        embed_clamp2(
            {"clamp2": job.path("clamp2"), "clamp3": job.path("clamp3")},
            {"test": job.path("test"), "train": job.path("train")},
            job.path("out"),
            job.section("embed", EmbedConfig),
        )
