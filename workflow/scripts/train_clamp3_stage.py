"""Train one contrastive stage of CLaMP 3, resumable at any kill."""

from clamp3.config import ClampConfig, ClampStage
from clamp3.job import Job
from clamp3.training.clamp import train_clamp_stage

if __name__ == "__main__":
    with Job() as job:
        train_clamp_stage(
            stage=job.section("stage", ClampStage),
            config=job.section("clamp3", ClampConfig),
            manifests_train=job.paths("train"),
            manifests_validation=job.paths("validation"),
            start=job.path("start"),
            tokenizer=job.path("tokenizer"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            seed=job.value("seed"),
        )
