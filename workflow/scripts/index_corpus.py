"""Make an index of all pieces of the corpus, with what a page shows and plays of them."""

from pathlib import Path

from clamp3.config import AudioConfig, EmbedConfig, IndexConfig
from clamp3.job import Job
from clamp3.retrieval.corpus_index import Corpus, index_corpus

if __name__ == "__main__":
    with Job() as job:
        audio = job.section("audio", AudioConfig)
        rendered = audio.source == "render"
        corpus = Corpus(
            manifests=job.paths("manifests"),
            catalog=job.paths("catalog"),
            scores=job.paths("scores"),
            midi=job.path("midi"),
            recordings=job.paths("recordings") if rendered else [Path(str(audio.folder))],
            are_rendered=rendered,
        )
        index_corpus(
            job.path("model"),
            corpus,
            job.path("queries"),
            job.path("out"),
            figures=job.path("metrics"),
            rejected=job.path("rejected"),
            embed=job.section("embed", EmbedConfig),
            settings=job.section("index", IndexConfig),
        )
