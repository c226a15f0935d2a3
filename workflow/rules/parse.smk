# PDMX.csv and the data sets evaluated on to one typed, split catalogue.


rule parse:
    """Stage 2: catalogue: every usable row, typed, described and dealt to splits."""
    input:
        "data/catalog/parts.tsv",
        "data/catalog/rejected.parquet",


rule parse_catalog:
    """In parse: read PDMX.csv and the collections' lists into the parts of the catalogue."""
    input:
        csv=given(watched(f"{CORPUS}/PDMX.csv"), "data/catalog/parts.tsv"),
        lists=given(
            [path for one in GIVEN.values() for path in watched(one["path"])],
            "data/catalog/parts.tsv",
        ),
    output:
        parts=ensure(CATALOG, non_empty=True),
        listing=ensure("data/catalog/parts.tsv", non_empty=True),
        rejected="data/catalog/rejected.parquet",
    log:
        "logs/parse_catalog.log",
    benchmark:
        "logs/timings/parse_catalog.tsv"
    retries: tries(NETWORK_TRIES)
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(30),
    params:
        cfg=stage_params("parse"),
        code=stage_code("parse"),
    shell:
        "exec python workflow/scripts/parse_catalog.py --params {params.cfg:q}"
        " --rejected {output.rejected:q} --parts {output.parts:q}"
        " --listing {output.listing:q} --log {log:q}"
