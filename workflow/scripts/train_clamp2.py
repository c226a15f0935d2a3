"""Train CLaMP 2, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import Clamp2Config
from clamp3.training.clamp2 import train_clamp2

if __name__ == "__main__":
    with Job() as job:
        train_clamp2(
            settings=job.section("clamp2", Clamp2Config),
            train=job.path("train"),
            validation=job.path("validation"),
            start=job.path("start"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            seed=job.value("seed"),
        )
