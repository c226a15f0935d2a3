"""Cut all recordings into chunks and code them, part by part, resumable at any kill."""

from pathlib import Path

from clamp3.job import Job
from clamp3.config import AudioConfig, CodesConfig
from clamp3.data.listing import listed_parts
from clamp3.retrieval.features.codes import code_parts

if __name__ == "__main__":
    with Job() as job:
        audio = job.section("audio", AudioConfig)
        recordings, parts = job.text("recordings"), listed_parts(job.path("catalog"))[0]
        is_rendered = audio.source == "render"  # into a folder a part
        code_parts(
            {part: Path(recordings, part.stem) if is_rendered else recordings for part in parts},
            job.path("out"),
            job.section("codes", CodesConfig),
            resume=job.path("resume"),
            by_name=not is_rendered,
            resampler=audio.resampler,
        )
