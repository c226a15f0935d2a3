# M3: masked music modelling on scores and performances.


rule m3:
    """Stage 8: M3, the encoder of scores and performances, trained by filling in masked bars."""
    input:
        "results/models/m3",
        "results/metrics/m3.tsv",


rule train_m3:
    """In m3: train M3 on the training split, resumable at any kill."""
    input:
        train=[manifests(modality, "train") for modality in ("abc", "mtf")],
        validation=[manifests(modality, "validation") for modality in ("abc", "mtf")],
        stores=listings("interleaved", "mtf"),
    output:
        model=directory("results/models/m3"),
        metrics=report(
            ensure("results/metrics/m3.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_m3.log",
    benchmark:
        "logs/timings/train_m3.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(config["m3"]["training"])
    resources:
        **machines(config["m3"]["training"]),
        mem_mb=more_memory(6000),
        runtime=more_time(1440),
    params:
        cfg=stage_params("m3"),
        code=stage_code("m3"),
        launch=launcher(config["m3"]["training"]),
    shell:
        "exec {params.launch} workflow/scripts/train_m3.py --params {params.cfg:q}"
        " --train {input.train:q}"
        " --validation {input.validation:q}"
        " --out {output.model:q} --metrics {output.metrics:q} --resume results/resume/m3 --log {log:q}"
