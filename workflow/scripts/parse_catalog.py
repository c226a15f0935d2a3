"""Read PDMX.csv and the collections' lists into the parts of the catalogue."""

from clamp3.job import Job
from clamp3.config import CorpusConfig, ParseConfig, Splits
from clamp3.data.catalog import build_catalog
from clamp3.data.listing import list_parts

if __name__ == "__main__":
    with Job() as job:
        corpus = job.section("corpus", CorpusConfig).folder.rstrip("/")
        build_catalog(
            f"{corpus}/PDMX.csv",
            job.paths("parts"),
            job.path("rejected"),
            parse=job.section("parse", ParseConfig),
            folder=corpus,
            splits=job.section("splits", Splits),
            seed=job.value("seed"),
        )
        list_parts(job.path("listing").parent, job.value("shards"), job.path("listing"))
