# Recordings to EnCodec's codes, which MusicGen reads, shard by shard: a recording is coded once.


rule codes:
    """Stage 14: EnCodec's codes of every recording."""
    input:
        "data/codes/parts.tsv",


rule make_musicgen:
    """In codes: a MusicGen with random weights, where no other is given."""
    output:
        directory(MADE_MUSICGEN),
    log:
        "logs/make_musicgen.log",
    benchmark:
        "logs/timings/make_musicgen.tsv"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cfg=stage_params("codes"),
        code=stage_code("codes"),
    shell:
        "exec python workflow/scripts/make_musicgen.py --params {params.cfg:q} --out {output:q}"
        " --log {log:q}"


rule code_recordings:
    """In codes: cut the recordings of one part into chunks and code them."""
    input:
        catalog="data/catalog/{part}.parquet",
        recordings=RECORDINGS,
        musicgen=MUSICGEN,
    output:
        table=ensure("data/codes/{part}.parquet", non_empty=True),
        rejected="data/codes/rejected-{part}.parquet",
    log:
        "logs/code_recordings/{part}.log",
    benchmark:
        "logs/timings/code_recordings/{part}.tsv"
    retries: 1  # with more memory
    group:
        "audio"
    resources:
        mem_mb=more_memory(4000),
        runtime=120,
        gpu=1,
    params:
        cfg=stage_params("codes"),
        code=stage_code("codes"),
    shell:
        "exec python workflow/scripts/code_recordings.py --params {params.cfg:q}"
        " --catalog {input.catalog:q} --recordings {input.recordings:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"


rule list_codes:
    """In codes: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/codes/{part}.parquet", part=PARTS),
        expand("data/codes/rejected-{part}.parquet", part=PARTS),
    output:
        listing=ensure("data/codes/parts.tsv", non_empty=True),
    log:
        "logs/list_codes.log",
    benchmark:
        "logs/timings/list_codes.tsv"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        cfg=stage_params("codes"),
        code=stage_code("codes"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/codes --listing {output.listing:q} --log {log:q}"
