"""Train one contrastive stage of CLaMP 3, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import ClampConfig
from clamp3.training.clamp import train_clamp_stage

if __name__ == "__main__":
    with Job() as job:
        config = job.section("clamp3", ClampConfig)
        ((name, stage),) = config.stages.items()  # the rule leaves the other stages out
        train_clamp_stage(
            name=name,
            stage=stage,
            config=config,
            manifests_train=job.paths("train"),
            manifests_validation=job.paths("validation"),
            start=job.path("start"),
            tokenizer=job.path("tokenizer"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            seed=job.value("seed"),
        )
