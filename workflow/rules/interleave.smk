# Standard ABC to interleaved ABC. One job does all parts, because a part takes less than starting a
# job for it (docs/scale.md: 0.2 ms a score); the folder with the listing appears as a whole.


rule interleave:
    """Stage 4: interleaved ABC, what M3 and CLaMP read of a score."""
    input:
        "data/interleaved",


rule interleave_scores:
    """In interleave: interleave the voices of all scores, bar by bar, and list the parts."""
    input:
        abc=listings("abc"),
    output:
        directory("data/interleaved"),
    log:
        "logs/interleave_scores.log",
    benchmark:
        "logs/timings/interleave_scores.tsv"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(60),
    params:
        cfg=stage_params("interleave"),
        code=stage_code("interleave"),
    shell:
        "exec python workflow/scripts/interleave_scores.py --params {params.cfg:q} --abc {input.abc:q}"
        " --out {output:q} --log {log:q}"
