# CLaMP 3: text, symbolic and audio towers, one contrastive stage after the other.

TEXT_MANIFESTS = [manifests(modality, "train") for modality in ("abc", "mtf", "audio")]
CLAMP3_TRAININGS = [stage["training"] for stage in config["clamp3"]["stages"].values()]


rule clamp3:
    """Stage 9: CLaMP 3, trained stage by stage."""
    input:
        "results/models/clamp3",
        expand("results/metrics/clamp3/{stage}.tsv", stage=CLAMP3_STAGES),


rule train_tokenizer:
    """In clamp3: tokenizer of the text tower, from the training texts or a checkpoint."""
    input:
        train=TEXT_MANIFESTS,
        start=given(
            [config["clamp3"]["start"]],
            "results/models/tokenizer",
            "results/models/clamp3",
        ),
    output:
        folder=directory("results/models/tokenizer"),
    log:
        "logs/train_tokenizer.log",
    benchmark:
        "logs/timings/train_tokenizer.tsv"
    retries: tries(2)  # a model hub may be out of reach
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(30),
    params:
        cfg=clamp3_tokenizer_params(),
        start=lambda _: config["clamp3"]["start"],
        code=stage_code("clamp3"),
    shell:
        "exec python workflow/scripts/train_tokenizer.py --params {params.cfg:q}"
        " --train {input.train:q} --start {params.start:q} --out {output.folder:q}"
        " --log {log:q}"


rule train_clamp3_stage:
    """In clamp3: train one contrastive stage, resumable at any kill."""
    input:
        train=stage_manifests("train"),
        validation=stage_manifests("validation"),
        stores=stage_stores,
        tokenizer="results/models/tokenizer",
        start=previous_model,
    output:
        model=directory("results/models/clamp3-stages/{stage}"),
        metrics=report(
            ensure("results/metrics/clamp3/{stage}.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_clamp3_stage/{stage}.log",
    benchmark:
        "logs/timings/train_clamp3_stage/{stage}.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(*CLAMP3_TRAININGS)
    resources:
        **machines(*CLAMP3_TRAININGS),
        mem_mb=more_memory(8000),
        runtime=more_time(2880),
    params:
        cfg=clamp3_stage_params,
        code=stage_code("clamp3"),
        launch=stage_launcher,
        start=previous_stage,
    shell:
        "exec {params.launch} workflow/scripts/train_clamp3_stage.py --params {params.cfg:q}"
        " --train {input.train:q} --validation {input.validation:q} --start {params.start:q}"
        " --tokenizer {input.tokenizer:q} --out {output.model:q}"
        " --metrics {output.metrics:q} --resume results/resume/clamp3-{wildcards.stage}"
        " --log {log:q}"


rule publish_clamp3:
    """In clamp3: the model after the last stage, under one name."""
    input:
        f"results/models/clamp3-stages/{CLAMP3_STAGES[-1]}",
    output:
        directory("results/models/clamp3"),
    log:
        "logs/publish_clamp3.log",
    benchmark:
        "logs/timings/publish_clamp3.tsv"
    localrule: True
    shell:
        "(rm -rf {output:q}.draft; cp -R {input:q} {output:q}.draft"
        " && mv {output:q}.draft {output:q}) 2> {log:q}"
