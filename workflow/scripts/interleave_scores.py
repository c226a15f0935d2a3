"""Interleave the voices of one part's scores, bar by bar."""

from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.interleaving import interleave_scores
from clamp3.job import Job

if __name__ == "__main__":
    with Job() as job:
        interleave_scores(
            job.path("abc"),
            table=job.path("table"),
            rejected=job.path("rejected"),
            settings=job.section("interleave", ConversionConfig),
            limits=job.section("limits", LimitsConfig),
        )
