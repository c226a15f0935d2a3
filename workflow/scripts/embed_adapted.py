"""Embed held-out scores with the abc adapter and performances with the mtf adapter."""

from clamp3.job import Job
from clamp3.config import EmbedConfig
from clamp3.retrieval.embedding.collection import embed_model

if __name__ == "__main__":
    with Job() as job:
        embed_model(
            job.path("model"),
            job.paths("manifests"),
            job.path("out"),
            job.section("embed", EmbedConfig),
            adapters={modality: job.path("adapters") / modality for modality in ("abc", "mtf")},
        )
