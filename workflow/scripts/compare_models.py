"""CLaMP 3 and CLaMP 3 with LoRA side by side."""

from clamp3.job import Job
from clamp3.retrieval.comparison import compare_models

if __name__ == "__main__":
    with Job() as job:
        compare_models(
            job.path("baseline"),
            job.path("adapted"),
            job.path("json"),
            job.path("table"),
            names=("CLaMP 3", "CLaMP 3 + LoRA"),
        )
