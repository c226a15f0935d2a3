# Vectors of held-out scores and performances, from CLaMP 3 with its adapters.

ADAPTED = [
    f"{collection}/{modality}.parquet"
    for collection in COLLECTIONS
    for modality in MODALITIES[collection]
    if modality in ("abc", "mtf")
]


rule embed_lora:
    """Stage 12: vectors of held-out scores and performances by CLaMP 3 with LoRA."""
    input:
        expand("results/embeddings/lora/{table}", table=ADAPTED),


rule embed_adapted:
    """In embed_lora: embed held-out scores with the abc adapter and performances with the mtf adapter."""
    input:
        model="results/models/clamp3",
        adapters=expand("results/models/lora/{adapter}", adapter=["abc", "mtf"]),
        manifests=[path for path in test_manifests() if "-audio-" not in path],
        stores=listings("interleaved", "mtf"),
    output:
        tables=expand("results/embeddings/lora/{table}", table=ADAPTED),
        rejected="results/embeddings/lora/rejected.parquet",
    log:
        "logs/embed_adapted.log",
    benchmark:
        "logs/timings/embed_adapted.tsv"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=more_memory(6000),
        runtime=more_time(240),
        gpu=1,
    params:
        cfg=stage_params("embed_lora"),
        code=stage_code("embed_lora"),
    shell:
        "exec python workflow/scripts/embed_adapted.py --params {params.cfg:q}"
        " --model {input.model:q} --adapters results/models/lora --manifests {input.manifests:q}"
        " --out results/embeddings/lora --log {log:q}"
