"""Read PDMX.csv and the collections' lists into the parts of the catalogue."""

from clamp3.config import CorpusConfig, ParseConfig, Splits
from clamp3.data.catalog import build_catalog
from clamp3.data.listing import list_parts
from clamp3.job import Job

if __name__ == "__main__":
    with Job() as job:
        build_catalog(
            job.path("csv"),
            job.paths("parts"),
            job.path("rejected"),
            parse=job.section("parse", ParseConfig),
            folder=job.section("corpus", CorpusConfig).folder,
            splits=job.section("splits", Splits),
            seed=job.value("seed"),
        )
        list_parts(job.path("listing").parent, job.value("shards"), job.path("listing"))
