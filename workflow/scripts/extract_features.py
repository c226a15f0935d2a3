"""Decode one part's recordings and describe every window by the front end."""

from clamp3.config import AudioConfig
from clamp3.job import Job
from clamp3.retrieval.features import extract_features

if __name__ == "__main__":
    with Job() as job:
        extract_features(
            job.path("catalog"),
            job.path("recordings"),
            job.path("table"),
            job.path("rejected"),
            job.section("audio", AudioConfig),
        )
