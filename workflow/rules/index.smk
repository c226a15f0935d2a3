# An index of the whole corpus, to be searched.


rule index:
    """Stage 22: an index of all pieces in all modalities, for `clamp3 search` and `clamp3 serve`."""
    input:
        "results/index",
        "results/index.json",


rule index_corpus:
    """In index: embed every piece of every split, and keep what is shown of it beside."""
    input:
        model="results/models/clamp3",
        manifests=[
            manifests(modality, split)
            for modality in MODALITIES["pdmx"]
            for split in ("train", "validation", "test")
        ],
        catalog=listings("catalog"),
        scores=listings("abc"),
        stores=listings("interleaved", "mtf", "features"),
        queries="results/embeddings/clamp3/pdmx/text.parquet",
        midi=watched(f"{CORPUS}/mid"),
        recordings="data/recordings/origin.txt",
    output:
        folder=directory("results/index"),
        rejected="results/index-rejected.parquet",
        metrics="results/index.json",
    log:
        "logs/index_corpus.log",
    benchmark:
        "logs/timings/index_corpus.tsv"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=more_memory(8000),
        runtime=more_time(600),
        gpu=1,
    params:
        cfg=stage_params("index"),
        code=stage_code("index"),
        midi=lambda wildcards: f"{CORPUS}/mid",
        recordings=lambda wildcards: RECORDINGS,
    shell:
        "exec python workflow/scripts/index_corpus.py --params {params.cfg:q}"
        " --model {input.model:q} --manifests {input.manifests:q} --catalog {input.catalog:q}"
        " --scores {input.scores:q} --midi {params.midi:q} --recordings {params.recordings:q}"
        " --queries {input.queries:q} --out {output.folder:q} --rejected {output.rejected:q}"
        " --metrics {output.metrics:q} --log {log:q}"
