# Recordings to EnCodec's codes, which MusicGen reads: a recording is coded once.


rule codes:
    """Stage 14: EnCodec's codes of every recording."""
    input:
        "data/codes",


rule make_musicgen:
    """In codes: a MusicGen with random weights, where no other is given."""
    output:
        directory(MADE_MUSICGEN),
    log:
        "logs/make_musicgen.log",
    benchmark:
        "logs/timings/make_musicgen.tsv"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(10),
    params:
        cfg=stage_params("codes"),
        code=stage_code("codes"),
    shell:
        "exec python workflow/scripts/make_musicgen.py --params {params.cfg:q} --out {output:q}"
        " --log {log:q}"


rule code_recordings:
    """In codes: cut all recordings into chunks and code them, part by part, resumable at any kill."""
    input:
        catalog=listings("catalog"),
        recordings="data/recordings/origin.txt",
        musicgen=MUSICGEN,
    output:
        directory("data/codes"),
    log:
        "logs/code_recordings.log",
    benchmark:
        "logs/timings/code_recordings.tsv"
    retries: tries(1)  # with more memory
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(1440),
        gpu=1,
    params:
        cfg=stage_params("codes"),
        code=stage_code("codes"),
        recordings=lambda wildcards: RECORDINGS,
    shell:
        "exec python workflow/scripts/code_recordings.py --params {params.cfg:q}"
        " --catalog {input.catalog:q} --recordings {params.recordings:q}"
        " --out {output:q} --resume results/resume/codes --log {log:q}"
