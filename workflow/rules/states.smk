# What the frozen MusicGen makes of codes: computed once, read in every epoch.


rule states:
    """Stage 15: MusicGen's vector of every chunk of a recording."""
    input:
        "data/states",


rule pool_codes:
    """In states: run the frozen MusicGen over all codes, part by part, resumable at any kill."""
    input:
        codes="data/codes",
        musicgen=MUSICGEN,
    output:
        directory("data/states"),
    log:
        "logs/pool_codes.log",
    benchmark:
        "logs/timings/pool_codes.tsv"
    retries: tries(1)  # with more memory
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(1440),
        gpu=1,
    params:
        cfg=stage_params("states"),
        code=stage_code("states"),
    shell:
        "exec python workflow/scripts/pool_codes.py --params {params.cfg:q}"
        " --codes {input.codes:q}/parts.tsv --out {output:q} --resume results/resume/states --log {log:q}"
