# MusicXML to standard ABC, shard by shard.


rule abc:
    """Stage 3: standard ABC of every score."""
    input:
        "data/abc/parts.tsv",


rule convert_scores:
    """In abc: convert the MusicXML files of one part of the catalogue to ABC."""
    input:
        catalog="data/catalog/{part}.parquet",
        mxl=watched(f"{CORPUS}/mxl"),
    output:
        table=ensure("data/abc/{part}.parquet", non_empty=True),
        rejected="data/abc/rejected-{part}.parquet",
    log:
        "logs/convert_scores/{part}.log",
    benchmark:
        "logs/timings/convert_scores/{part}.tsv"
    retries: tries(NETWORK_TRIES)
    group:
        "convert"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(20, seconds_per_piece=0.3),
    params:
        cfg=stage_params("abc"),
        code=stage_code("abc"),
    shell:
        "exec python workflow/scripts/convert_scores.py --params {params.cfg:q} --catalog {input.catalog:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"


rule list_scores:
    """In abc: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/abc/{part}.parquet", part=PARTS),  # rejects are made with them
    output:
        listing=ensure("data/abc/parts.tsv", non_empty=True),
    log:
        "logs/list_scores.log",
    benchmark:
        "logs/timings/list_scores.tsv"
    localrule: True  # seconds
    resources:
        mem_mb=1000,
    params:
        cfg=stage_params("abc"),
        code=stage_code("abc"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/abc --listing {output.listing:q} --log {log:q}"
