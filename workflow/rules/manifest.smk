# Text–music pairs as JSONL, checked against the stores: in = out + rejected.

MANIFESTS = [
    manifests(modality, split, collection)
    for collection in COLLECTIONS
    for modality in MODALITIES["pdmx"]  # empty where a collection has no such pieces
    for split in (["train", "validation", "test"] if collection == "pdmx" else ["test"])
]


rule manifest:
    """Stage 7: manifests in CLaMP 3's training layout, per collection, modality and split."""
    input:
        MANIFESTS,
        "data/manifests/counts.json",


rule build_manifests:
    """In manifest: pair the catalogue's texts with what was converted, and account for every row."""
    input:
        catalog="data/catalog/parts.tsv",
        interleaved="data/interleaved",
        mtf="data/mtf/parts.tsv",
        features="data/features/parts.tsv",
        rejected="data/catalog/rejected.parquet",
        passed=listings("abc"),
    output:
        manifests=MANIFESTS,
        counts=ensure("data/manifests/counts.json", non_empty=True),
        rejected="data/manifests/rejected.parquet",
    log:
        "logs/build_manifests.log",
    benchmark:
        "logs/timings/build_manifests.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(30),
    params:
        cfg=stage_params("manifest"),
        collections=COLLECTIONS,
        code=stage_code("manifest"),
    shell:
        "exec python workflow/scripts/build_manifests.py --params {params.cfg:q}"
        " --collections {params.collections:q}"
        " --catalog {input.catalog:q} --interleaved {input.interleaved:q}/parts.tsv --mtf {input.mtf:q}"
        " --features {input.features:q} --rejected {input.rejected:q}"
        " --passed {input.passed:q} --out data/manifests --log {log:q}"
