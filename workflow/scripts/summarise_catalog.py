"""Have every piece of the catalogue summarised by the chosen writer."""

from clamp3.job import Job
from clamp3.config import PipelineSummariesConfig
from clamp3.data.listing import listed_parts
from clamp3.data.summaries.summarise import summarise

if __name__ == "__main__":
    with Job() as job:
        catalog, _ = listed_parts(job.path("catalog"))
        summarise(
            catalog,
            job.path("out"),
            settings=job.section("summaries", PipelineSummariesConfig),
            seed=job.value("seed"),
        )
