"""Tune CLAP-MusicGen's text model on the training captions, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import PipelineTextConfig
from clamp3.training.clap_mlm import train_masked_text

if __name__ == "__main__":
    with Job() as job:
        train_masked_text(
            manifests=job.paths("train"),
            validation=job.paths("validation"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            settings=job.section("clap_text", PipelineTextConfig),
            seed=job.value("seed"),
        )
