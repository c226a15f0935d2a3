# CLaMP 2: text and symbolic music, trained from manifests of its own.


rule clamp2:
    """Stage 20: CLaMP 2, trained on summaries in several languages."""
    input:
        expand("data/clamp2/{split}.jsonl", split=["train", "validation", "test"]),
        "results/models/clamp2",
        "results/metrics/clamp2.tsv",


rule make_clamp2_manifests:
    """In clamp2: its manifests, from those of the pipeline and the summaries, or from yours."""
    input:
        manifests=[] if CLAMP2_GIVEN else CLAMP2_MANIFESTS,
        summaries=[] if CLAMP2_GIVEN else "data/summaries/summaries.parquet",
        given=CLAMP2_GIVEN,
    output:
        expand("data/clamp2/{split}.jsonl", split=["train", "validation", "test"]),
    log:
        "logs/make_clamp2_manifests.log",
    benchmark:
        "logs/timings/make_clamp2_manifests.tsv"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(60),
    params:
        code=stage_code("clamp2"),
    shell:
        "exec python workflow/scripts/make_clamp2_manifests.py --manifests {input.manifests:q}"
        " --summaries {input.summaries:q} --given {input.given:q} --out data/clamp2 --log {log:q}"


rule train_clamp2:
    """In clamp2: train both towers, resumable at any kill."""
    input:
        train="data/clamp2/train.jsonl",
        validation="data/clamp2/validation.jsonl",
        stores=CLAMP2_STORES,
        start=given(
            [config["clamp2"]["start"]],
            "results/models/clamp2",
            "results/metrics/clamp2.tsv",
        ),
    output:
        model=directory("results/models/clamp2"),
        metrics=report(
            ensure("results/metrics/clamp2.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_clamp2.log",
    benchmark:
        "logs/timings/train_clamp2.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(config["clamp2"]["training"])
    resources:
        **machines(config["clamp2"]["training"]),
        mem_mb=more_memory(8000),
        runtime=more_time(2880),
    params:
        cfg=stage_params("clamp2"),
        code=stage_code("clamp2"),
        launch=launcher(config["clamp2"]["training"]),
        start=lambda _: config["clamp2"]["start"],
    shell:
        "exec {params.launch} workflow/scripts/train_clamp2.py --params {params.cfg:q}"
        " --train {input.train:q} --validation {input.validation:q} --start {params.start:q}"
        " --out {output.model:q} --metrics {output.metrics:q} --resume results/resume/clamp2"
        " --log {log:q}"
