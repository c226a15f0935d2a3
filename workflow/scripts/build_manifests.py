"""Pair the catalogue's texts with what was converted, and account for every row."""

from clamp3.job import Job
from clamp3.config import ManifestConfig
from clamp3.data.listing import listed_parts
from clamp3.data.manifests import build_manifests

STORES = ("interleaved", "mtf", "features")

if __name__ == "__main__":
    with Job() as job:
        catalog, _ = listed_parts(job.path("catalog"))
        stored = {name: listed_parts(job.path(name)) for name in STORES}
        passed = [listed_parts(path) for path in job.paths("passed")]
        build_manifests(
            catalog,
            job.path("out"),
            collections=job.texts("collections"),
            **{name: tables for name, (tables, _) in stored.items()},
            rejected=[
                job.path("rejected"),
                *(table for _, rejected in (*stored.values(), *passed) for table in rejected),
            ],
            settings=job.section("manifest", ManifestConfig),
        )
