# MusicXML to standard ABC, shard by shard.


rule abc:
    """Stage 3: standard ABC of every score."""
    input:
        expand("data/abc/{part}.parquet", part=PARTS),
        expand("data/abc/rejected-{part}.parquet", part=PARTS),


rule convert_scores:
    """In abc: convert the MusicXML files of one part of the catalogue to ABC."""
    input:
        catalog="data/catalog/{part}.parquet",
        mxl=f"{CORPUS}/mxl",
    output:
        table=ensure("data/abc/{part}.parquet", non_empty=True),
        rejected="data/abc/rejected-{part}.parquet",
    log:
        "logs/convert_scores/{part}.log",
    benchmark:
        "logs/timings/convert_scores/{part}.tsv"
    group:
        "convert"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        cfg=stage_params("abc"),
        code=stage_code("abc"),
    shell:
        "exec python workflow/scripts/convert_scores.py --params {params.cfg:q} --catalog {input.catalog:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"
