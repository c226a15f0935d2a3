# PDMX.csv and the evaluation lists to one typed, split catalogue.


rule parse:
    """Stage 2: catalogue: every usable row, typed, described and dealt to splits."""
    input:
        "data/catalog/parts.tsv",
        "data/catalog/rejected.parquet",


rule parse_catalog:
    """In parse: read PDMX.csv (and WikiMT-X, MidiCaps lists) into the parts of the catalogue."""
    input:
        csv=f"{CORPUS}/PDMX.csv",
        lists=[
            config["parse"][key]
            for key in ("wikimt_x_jsonl", "midicaps_json")
            if config["parse"][key]
        ],
    output:
        parts=ensure(CATALOG, non_empty=True),
        rejected="data/catalog/rejected.parquet",
    log:
        "logs/parse_catalog.log",
    benchmark:
        "logs/timings/parse_catalog.tsv"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        cfg=stage_params("parse"),
        code=stage_code("parse"),
    shell:
        "exec python workflow/scripts/parse_catalog.py --params {params.cfg:q} --csv {input.csv:q}"
        " --rejected {output.rejected:q} --parts {output.parts:q} --log {log:q}"


rule list_catalog:
    """In parse: list all parts with rows and hashes, for the stages that need every one."""
    input:
        CATALOG,
    output:
        listing=ensure("data/catalog/parts.tsv", non_empty=True),
    log:
        "logs/list_catalog.log",
    benchmark:
        "logs/timings/list_catalog.tsv"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        cfg=stage_params("parse"),
        code=stage_code("parse"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/catalog --listing {output.listing:q} --log {log:q}"
