"""Train CLAP-MusicGen's heads on what both towers say, resumable at any kill."""

import clamp3.config as config
from clamp3.job import Job
from clamp3.data.listing import listed_parts
from clamp3.training.clap_musicgen import train_clap_musicgen

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
            settings=config.ClapMusicgenConfig.of(
                job.section("codes", config.CodesConfig),
                job.section("states", config.StatesConfig),
                job.section("clap_text", config.PipelineTextConfig),
                job.section("clap_heads", config.ClapHeadsConfig),
            ),
            seed=job.value("seed"),
        )
