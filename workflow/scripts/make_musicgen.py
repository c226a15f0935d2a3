"""Write a MusicGen with random weights, where no other is given."""

from clamp3.job import Job
from clamp3.config import CodesConfig
from clamp3.models.clap_musicgen.pretrained import make_musicgen

if __name__ == "__main__":
    with Job() as job:
        sizes = job.section("codes", CodesConfig).new_musicgen
        make_musicgen(job.path("out"), sizes, seed=job.value("seed"))
