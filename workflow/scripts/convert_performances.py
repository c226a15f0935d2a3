"""Convert the MIDI files of one part of the catalogue to MTF."""

from clamp3.job import Job
from clamp3.config import LimitsConfig, MtfConfig
from clamp3.data.performances import convert_performances

if __name__ == "__main__":
    with Job() as job:
        convert_performances(
            job.path("catalog"),
            table=job.path("table"),
            rejected=job.path("rejected"),
            settings=job.section("mtf", MtfConfig),
            limits=job.section("limits", LimitsConfig),
        )
