"""Interleave the voices of all scores, bar by bar, part by part."""

from clamp3.job import Job
from clamp3.config import ConversionConfig, LimitsConfig
from clamp3.data.interleaving import interleave_scores
from clamp3.data.listing import LISTING, list_parts, listed_parts
from clamp3.files import atomic_path

if __name__ == "__main__":
    with Job() as job, atomic_path(job.path("out")) as out:
        out.mkdir()
        for part in listed_parts(job.path("abc"))[0]:
            interleave_scores(
                part,
                table=out / part.name,
                rejected=out / f"rejected-{part.name}",
                settings=job.section("interleave", ConversionConfig),
                limits=job.section("limits", LimitsConfig),
            )
        list_parts(out, job.value("shards"), out / LISTING)
