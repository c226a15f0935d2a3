"""Pair the catalogue's texts with what was converted, and account for every row."""

from clamp3.config import ManifestConfig
from clamp3.data.manifests import build_manifests
from clamp3.job import Job

if __name__ == "__main__":
    with Job() as job:
        build_manifests(
            job.paths("catalog"),
            job.path("out"),
            interleaved=job.paths("interleaved"),
            mtf=job.paths("mtf"),
            features=job.paths("features"),
            rejected=job.paths("rejected"),
            settings=job.section("manifest", ManifestConfig),
        )
