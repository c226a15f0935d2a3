"""Train M3 on the training split, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import M3Config
from clamp3.training.m3 import train_m3

if __name__ == "__main__":
    with Job() as job:
        train_m3(
            manifests=job.paths("train"),
            validation=job.paths("validation"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            settings=job.section("m3", M3Config),
            seed=job.value("seed"),
        )
