"""Interleave the voices of all scores, bar by bar, part by part."""

from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.interleaving import interleave_scores
from clamp3.data.listing import list_parts, listed_parts
from clamp3.job import Job

if __name__ == "__main__":
    with Job() as job:
        listing = job.path("listing")
        for part in listed_parts(job.path("abc"))[0]:
            interleave_scores(
                part,
                table=listing.parent / part.name,
                rejected=listing.parent / f"rejected-{part.name}",
                settings=job.section("interleave", ConversionConfig),
                limits=job.section("limits", LimitsConfig),
            )
        list_parts(listing.parent, job.value("shards"), listing)
