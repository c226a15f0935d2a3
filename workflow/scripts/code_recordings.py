"""Cut the recordings of one part into chunks and code them with EnCodec."""

from clamp3.config import AudioConfig, CodesConfig
from clamp3.job import Job
from clamp3.retrieval.codes import extract_codes

if __name__ == "__main__":
    with Job() as job:
        audio = job.section("audio", AudioConfig)
        extract_codes(
            job.path("catalog"),
            job.path("recordings"),
            job.path("table"),
            job.path("rejected"),
            job.section("codes", CodesConfig),
            by_name=audio.source == "folder",
            resampler=audio.resampler,
        )
