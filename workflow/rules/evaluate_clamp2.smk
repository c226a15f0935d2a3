# How well CLaMP 2, and CLaMP 3 beside it, find pieces by summaries in several languages.


rule evaluate_clamp2:
    """Stage 21: retrieval by summaries, in languages seen with a piece and not, by CLaMP 2."""
    input:
        "results/embeddings/clamp2",
        "results/evaluation/clamp2.json",


rule embed_clamp2:
    """In evaluate_clamp2: embed pieces and summaries by CLaMP 2, and by CLaMP 3."""
    input:
        clamp2="results/models/clamp2",
        clamp3="results/models/clamp3",
        train="data/clamp2/train.jsonl",
        test="data/clamp2/test.jsonl",
        stores=CLAMP2_STORES,
    output:
        directory("results/embeddings/clamp2"),
    log:
        "logs/embed_clamp2.log",
    benchmark:
        "logs/timings/embed_clamp2.tsv"
    threads: config["embed"]["threads"]
    resources:
        mem_mb=more_memory(6000),
        runtime=more_time(240),
        gpu=1,
    params:
        cfg=stage_params("evaluate_clamp2"),
        code=stage_code("evaluate_clamp2"),
    shell:
        "exec python workflow/scripts/embed_clamp2.py --params {params.cfg:q}"
        " --clamp2 {input.clamp2:q} --clamp3 {input.clamp3:q} --train {input.train:q}"
        " --test {input.test:q} --out {output:q} --log {log:q}"


rule rank_clamp2:
    """In evaluate_clamp2: rank scores and performances for every summary."""
    input:
        embeddings="results/embeddings/clamp2",
        train="data/clamp2/train.jsonl",
        test="data/clamp2/test.jsonl",
    output:
        ensure("results/evaluation/clamp2.json", non_empty=True),
    log:
        "logs/rank_clamp2.log",
    benchmark:
        "logs/timings/rank_clamp2.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(60),
    params:
        cfg=stage_params("evaluate_clamp2"),
        code=stage_code("evaluate_clamp2"),
    shell:
        "exec python workflow/scripts/rank_clamp2.py --params {params.cfg:q}"
        " --embeddings {input.embeddings:q} --train {input.train:q} --test {input.test:q}"
        " --json {output:q} --log {log:q}"
