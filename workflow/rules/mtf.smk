# MIDI to MTF, shard by shard.


rule mtf:
    """Stage 5: MIDI to MTF, what M3 and CLaMP read of a performance."""
    input:
        "data/mtf/parts.tsv",


rule convert_performances:
    """In mtf: convert the MIDI files of one part of the catalogue to MTF."""
    input:
        catalog="data/catalog/{part}.parquet",
        mid=MIDI_FOLDERS,
    output:
        table=ensure("data/mtf/{part}.parquet", non_empty=True),
        rejected="data/mtf/rejected-{part}.parquet",
    log:
        "logs/convert_performances/{part}.log",
    benchmark:
        "logs/timings/convert_performances/{part}.tsv"
    retries: tries(NETWORK_TRIES)
    group:
        "convert"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(20, seconds_per_piece=0.3),
    params:
        cfg=stage_params("mtf"),
        code=stage_code("mtf"),
    shell:
        "exec python workflow/scripts/convert_performances.py --params {params.cfg:q} --catalog {input.catalog:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"


rule list_performances:
    """In mtf: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/mtf/{part}.parquet", part=PARTS),  # rejects are made with them
    output:
        listing=ensure("data/mtf/parts.tsv", non_empty=True),
    log:
        "logs/list_performances.log",
    benchmark:
        "logs/timings/list_performances.tsv"
    localrule: True  # seconds
    resources:
        mem_mb=1000,
    params:
        cfg=stage_params("mtf"),
        code=stage_code("mtf"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/mtf --listing {output.listing:q} --log {log:q}"
