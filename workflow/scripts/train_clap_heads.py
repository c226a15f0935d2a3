"""Train CLAP-MusicGen's heads on what both towers say, resumable at any kill."""

from clamp3.config import (
    ClapHeadsConfig,
    ClapMusicgenConfig,
    CodesConfig,
    PipelineTextConfig,
    StatesConfig,
)
from clamp3.data.listing import listed_parts
from clamp3.job import Job
from clamp3.training.clap_musicgen import train_clap_musicgen

SECTIONS = {
    "codes": CodesConfig,
    "states": StatesConfig,
    "clap_text": PipelineTextConfig,
    "clap_heads": ClapHeadsConfig,
}

if __name__ == "__main__":
    with Job() as job:
        train_clap_musicgen(
            manifests_train=job.paths("train"),
            manifests_validation=job.paths("validation"),
            states=listed_parts(job.path("states"))[0],
            text_model=job.path("text"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            resume=job.path("resume"),
            settings=ClapMusicgenConfig.joined(*(job.section(*item) for item in SECTIONS.items())),
            seed=job.value("seed"),
        )
