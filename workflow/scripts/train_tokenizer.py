"""Tokenizer of the text tower: that of the first model, of a checkpoint or from the texts."""

from clamp3.job import Job
from clamp3.config import TextArchitecture
from clamp3.training.clamp import make_tokenizer

if __name__ == "__main__":
    with Job() as job:
        make_tokenizer(
            manifests=job.paths("train"),
            out=job.path("out"),
            settings=job.section("text", TextArchitecture),
            start=job.path("start"),
        )
