# Text–music pairs as JSONL, checked against the stores: in = out + rejected.

MANIFESTS = [
    manifests(modality, split, collection)
    for collection in COLLECTIONS
    for modality in MODALITIES[collection]
    for split in (["train", "validation", "test"] if collection == "pdmx" else ["test"])
]


# Folders of rendered recordings, each with the table of what could not be played.
RENDERED = (
    expand("data/recordings/{part}", part=PARTS)
    if config["audio"]["source"] == "render"
    else []
)


rule manifest:
    """Stage 7: manifests in CLaMP 3's training layout, per collection, modality and split."""
    input:
        MANIFESTS,
        "data/manifests/counts.json",


rule build_manifests:
    """In manifest: pair the catalogue's texts with what was converted, and account for every row."""
    input:
        catalog=CATALOG,
        interleaved=expand("data/interleaved/{part}.parquet", part=PARTS),
        mtf=expand("data/mtf/{part}.parquet", part=PARTS),
        features=expand("data/features/{part}.parquet", part=PARTS),
        rejected=[
            "data/catalog/rejected.parquet",
            *expand(
                "data/{store}/rejected-{part}.parquet",
                store=["abc", "interleaved", "mtf", "features"],
                part=PARTS,
            ),
        ],
        recordings=RENDERED,
    output:
        manifests=MANIFESTS,
        counts=ensure("data/manifests/counts.json", non_empty=True),
        rejected="data/manifests/rejected.parquet",
    log:
        "logs/build_manifests.log",
    benchmark:
        "logs/timings/build_manifests.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        cfg=stage_params("manifest"),
        unplayed=[f"{folder}/rejected.parquet" for folder in RENDERED],
        code=stage_code("manifest"),
    shell:
        "exec python workflow/scripts/build_manifests.py --params {params.cfg:q}"
        " --catalog {input.catalog:q} --interleaved {input.interleaved:q} --mtf {input.mtf:q}"
        " --features {input.features:q} --rejected {input.rejected:q} {params.unplayed:q}"
        " --out data/manifests"
        " --log {log:q}"
