# MIDI to MTF, shard by shard.


rule mtf:
    """Stage 5: mTF, what M3 and CLaMP read of a MIDI file."""
    input:
        expand("data/mtf/{part}.parquet", part=PARTS),
        expand("data/mtf/rejected-{part}.parquet", part=PARTS),


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
    group:
        "convert"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        cfg=stage_params("mtf"),
        code=stage_code("mtf"),
    shell:
        "exec python workflow/scripts/convert_performances.py --params {params.cfg:q} --catalog {input.catalog:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --log {log:q}"
