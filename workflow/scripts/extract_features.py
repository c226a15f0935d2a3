"""Describe every window of one part's recordings, which the demo first plays."""

from pathlib import Path

from clamp3.job import Job
from clamp3.config import AudioConfig
from clamp3.data.rejected import read_rejected, write_rejected
from clamp3.retrieval.features.recordings import render_recordings
from clamp3.retrieval.features.rows import extract_features

if __name__ == "__main__":
    with Job() as job:
        audio = job.section("audio", AudioConfig)
        catalog, recordings = job.path("catalog"), job.text("recordings")
        rejected = job.path("rejected")
        if audio.source == "render":
            render_recordings(catalog, Path(recordings), audio)
        extract_features(catalog, recordings, job.path("table"), rejected, audio)
        if audio.source == "render":
            unplayed = Path(recordings, "rejected.parquet")
            write_rejected(rejected, read_rejected([unplayed, rejected]))
