"""Embed the papers' data sets with one of the models of workflow/tables.yaml."""

from pathlib import Path

from clamp3.job import Job
from clamp3.config import EmbedConfig
from clamp3.retrieval.evaluation.paper_embeddings import embed_paper_sets
from clamp3.retrieval.evaluation.paper_tables import read_tables

if __name__ == "__main__":
    with Job() as job:
        model = read_tables(job.path("tables")).models[job.text("model")]
        adapters = {name: Path(folder) for name, folder in (model.adapters or {}).items()}
        embed_paper_sets(
            model.weights,
            job.paths("manifests"),
            job.path("out"),
            job.section("embed", EmbedConfig),
            adapters=adapters or None,
            line_collections=["song_describer"],
        )
