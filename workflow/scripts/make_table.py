"""One table of the papers: published figures beside those of the models that are here."""

import json
from pathlib import Path

from clamp3.job import Job
from clamp3.retrieval.evaluation.paper_tables import make_table, read_tables

if __name__ == "__main__":
    with Job() as job:
        folders = json.loads(job.text("embeddings"))
        make_table(
            job.text("table"),
            read_tables(job.path("tables")),
            {model: [Path(folder) for folder in own] for model, own in folders.items()},
            [Path(path) for path in json.loads(job.text("manifests"))],
            markdown=job.path("markdown"),
            rows=job.path("rows"),
        )
