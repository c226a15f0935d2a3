"""Manifests of CLaMP 2, from those of the pipeline and the summaries, or from a person's."""

from clamp3.job import Job
from clamp3.data.clamp2_pieces import write_splits

if __name__ == "__main__":
    with Job() as job:
        write_splits(
            job.path("out"),
            manifests=job.texts("manifests"),
            summaries=job.optional_path("summaries"),
            given=job.texts("given"),
        )
