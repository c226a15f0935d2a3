"""Play the MIDI files of one part of the catalogue into sound files."""

from clamp3.config import AudioConfig
from clamp3.job import Job
from clamp3.retrieval.recordings import render_recordings

if __name__ == "__main__":
    with Job() as job:
        render_recordings(
            job.path("catalog"),
            job.path("out"),
            job.section("audio", AudioConfig),
        )
