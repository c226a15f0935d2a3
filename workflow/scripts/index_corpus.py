"""Make an index of all pieces of the corpus, with what a page shows and plays of them."""

from clamp3.job import Job
from clamp3.config import AudioConfig, EmbedConfig, IndexConfig
from clamp3.data.listing import listed_parts
from clamp3.retrieval.index.corpus import Corpus, index_corpus

if __name__ == "__main__":
    with Job() as job:
        parts, recordings = listed_parts(job.path("catalog"))[0], job.text("recordings")
        is_rendered = job.section("audio", AudioConfig).source == "render"  # into a folder a part
        corpus = Corpus(
            manifests=job.paths("manifests"),
            catalog=parts,
            scores=listed_parts(job.path("scores"))[0],
            midi=job.path("midi"),
            recordings=[f"{recordings}/{p.stem}" for p in parts] if is_rendered else [recordings],
            are_rendered=is_rendered,
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
