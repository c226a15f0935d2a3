"""Run the frozen MusicGen over all codes, part by part, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import CodesConfig, StatesConfig
from clamp3.data.listing import listed_parts
from clamp3.retrieval.features.codes import pool_parts

if __name__ == "__main__":
    with Job() as job:
        pool_parts(
            listed_parts(job.path("codes"))[0],
            job.path("out"),
            job.section("codes", CodesConfig).musicgen,
            job.section("states", StatesConfig).reading,
            resume=job.path("resume"),
        )
