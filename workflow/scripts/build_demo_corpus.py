"""Export music21's tunes and chorales as MusicXML and MIDI, with their texts."""

from clamp3.job import Job
from clamp3.config import CorpusConfig, Splits
from clamp3.data.demo_corpus import build_demo_corpus

if __name__ == "__main__":
    with Job() as job:
        build_demo_corpus(
            job.path("out"),
            job.section("corpus", CorpusConfig),
            job.section("splits", Splits),
            job.value("seed"),
            int(job.text("workers")),
        )
