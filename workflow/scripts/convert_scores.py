"""Convert the MusicXML files of one part of the catalogue to ABC."""

from clamp3.job import Job
from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.scores import convert_scores

if __name__ == "__main__":
    with Job() as job:
        convert_scores(
            job.path("catalog"),
            table=job.path("table"),
            rejected=job.path("rejected"),
            settings=job.section("abc", ConversionConfig),
            limits=job.section("limits", LimitsConfig),
        )
