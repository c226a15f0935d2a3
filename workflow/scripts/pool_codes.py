"""Compute what the frozen MusicGen makes of one part's codes."""

from clamp3.config import CodesConfig, StatesConfig
from clamp3.job import Job
from clamp3.retrieval.codes import pool_codes

if __name__ == "__main__":
    with Job() as job:
        pool_codes(
            job.path("codes"),
            job.path("table"),
            job.section("codes", CodesConfig).musicgen,
            job.section("states", StatesConfig).reading,
        )
