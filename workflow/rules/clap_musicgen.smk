# Retrieval figures of CLAP-MusicGen on held-out recordings.


rule clap_musicgen:
    """Stage 18: CLAP-MusicGen, and how well it finds held-out recordings."""
    input:
        "results/models/clap_musicgen",
        "results/evaluation/clap_musicgen.json",


rule evaluate_clap_musicgen:
    """In clap_musicgen: rank held-out recordings by captions and by each other."""
    input:
        model="results/models/clap_musicgen",
        manifest=manifests("audio", "test"),
        states="data/states",
    output:
        ensure("results/evaluation/clap_musicgen.json", non_empty=True),
    log:
        "logs/evaluate_clap_musicgen.log",
    benchmark:
        "logs/timings/evaluate_clap_musicgen.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(60),
    params:
        cfg=stage_params("clap_musicgen"),
        code=stage_code("clap_musicgen"),
    shell:
        "exec python workflow/scripts/evaluate_clap_musicgen.py --params {params.cfg:q}"
        " --model {input.model:q} --manifest {input.manifest:q} --states {input.states:q}/parts.tsv"
        " --json {output:q} --log {log:q}"
