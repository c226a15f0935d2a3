"""CLaMP 3 and CLaMP 3 with LoRA side by side."""

from clamp3.job import Job
from clamp3.retrieval.evaluation.comparison import compare_models, write_tables

if __name__ == "__main__":
    with Job() as job:
        first, second = job.paths("places")
        comparison = compare_models(
            job.path("baseline"),
            job.path("adapted"),
            job.path("json"),
            ranks=(first, second),
            names=("CLaMP 3", "CLaMP 3 + LoRA"),
        )
        write_tables(comparison, job.path("table"), job.path("rows"))
