# Standard ABC to interleaved ABC, shard by shard.


rule interleave:
    """Stage 4: interleaved ABC, what M3 and CLaMP read of a score."""
    input:
        "data/interleaved/parts.tsv",


rule interleave_scores:
    """In interleave: interleave the voices of one part's scores, bar by bar."""
    input:
        abc="data/abc/{part}.parquet",
    output:
        table=ensure("data/interleaved/{part}.parquet", non_empty=True),
        rejected="data/interleaved/rejected-{part}.parquet",
    log:
        "logs/interleave_scores/{part}.log",
    benchmark:
        "logs/timings/interleave_scores/{part}.tsv"
    group:
        "convert"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(20, seconds_per_piece=0.1),
    params:
        cfg=stage_params("interleave"),
        code=stage_code("interleave"),
    shell:
        "exec python workflow/scripts/interleave_scores.py --params {params.cfg:q} --abc {input.abc:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"


rule list_interleaved:
    """In interleave: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/interleaved/{part}.parquet", part=PARTS),  # rejects are made with them
    output:
        listing=ensure("data/interleaved/parts.tsv", non_empty=True),
    log:
        "logs/list_interleaved.log",
    benchmark:
        "logs/timings/list_interleaved.tsv"
    localrule: True  # seconds
    resources:
        mem_mb=1000,
    params:
        cfg=stage_params("interleave"),
        code=stage_code("interleave"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/interleaved --listing {output.listing:q} --log {log:q}"
