# Vectors of everything held out, from CLaMP 3.

EMBEDDINGS = [
    f"{collection}/{modality}.parquet"
    for collection in COLLECTIONS
    for modality in ["text", *MODALITIES[collection]]
]


rule embed:
    """Stage 11: vectors of the held-out pieces and texts by CLaMP 3."""
    input:
        expand("results/embeddings/clamp3/{table}", table=EMBEDDINGS),


rule embed_clamp3:
    """In embed: embed every held-out text, score, performance and recording."""
    input:
        model="results/models/clamp3",
        manifests=test_manifests(),
        stores=listings("interleaved", "mtf", "features"),
    output:
        tables=expand("results/embeddings/clamp3/{table}", table=EMBEDDINGS),
        rejected="results/embeddings/clamp3/rejected.parquet",
    log:
        "logs/embed_clamp3.log",
    benchmark:
        "logs/timings/embed_clamp3.tsv"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=more_memory(6000),
        runtime=more_time(240),
        gpu=1,
    params:
        cfg=stage_params("embed"),
        code=stage_code("embed"),
    shell:
        "exec python workflow/scripts/embed_clamp3.py --params {params.cfg:q}"
        " --model {input.model:q} --manifests {input.manifests:q}"
        " --out results/embeddings/clamp3 --log {log:q}"
