# What the frozen MusicGen makes of codes, shard by shard: computed once, read in every epoch.


rule states:
    """Stage 15: MusicGen's vector of every chunk of a recording."""
    input:
        "data/states/parts.tsv",


rule pool_codes:
    """In states: what the frozen MusicGen makes of one part's codes: a vector a chunk."""
    input:
        codes="data/codes/{part}.parquet",
        musicgen=MUSICGEN,
    output:
        ensure("data/states/{part}.parquet", non_empty=True),
    log:
        "logs/pool_codes/{part}.log",
    benchmark:
        "logs/timings/pool_codes/{part}.tsv"
    retries: 1  # with more memory
    group:
        "audio"
    resources:
        mem_mb=more_memory(4000),
        runtime=120,
        gpu=1,
    params:
        cfg=stage_params("states"),
        code=stage_code("states"),
    shell:
        "exec python workflow/scripts/pool_codes.py --params {params.cfg:q}"
        " --codes {input.codes:q} --table {output:q} --log {log:q}"


rule list_states:
    """In states: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/states/{part}.parquet", part=PARTS),
    output:
        listing=ensure("data/states/parts.tsv", non_empty=True),
    log:
        "logs/list_states.log",
    benchmark:
        "logs/timings/list_states.tsv"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        cfg=stage_params("states"),
        code=stage_code("states"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/states --listing {output.listing:q} --log {log:q}"
