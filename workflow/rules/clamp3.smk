# CLaMP 3: text, symbolic and audio towers, one contrastive stage after the other.

TEXT_MANIFESTS = [manifests(modality, "train") for modality in ("abc", "mtf", "audio")]


rule clamp3:
    """CLaMP 3, trained stage by stage."""
    input:
        "results/models/clamp3",
        expand("results/metrics/clamp3/{stage}.tsv", stage=CLAMP3_STAGES),


rule train_tokenizer:
    """Tokenizer of the text tower, from the training texts or a checkpoint."""
    input:
        train=TEXT_MANIFESTS,
        code=stage_code("clamp3"),
    output:
        folder=directory("results/models/tokenizer"),
    log:
        "logs/train_tokenizer.log",
    benchmark:
        "logs/timings/train_tokenizer.tsv"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        cfg=clamp3_tokenizer_params(),
    shell:
        "exec python workflow/scripts/train_tokenizer.py --params {params.cfg:q}"
        " --train {input.train:q} --out {output.folder:q} --log {log:q}"


rule train_clamp3_stage:
    """Train one contrastive stage, resumable at any kill."""
    input:
        train=stage_manifests("train"),
        validation=stage_manifests("validation"),
        stores=stage_stores,
        tokenizer="results/models/tokenizer",
        m3="results/models/m3",
        start=previous_stage,
        code=stage_code("clamp3"),
    output:
        model=directory("results/models/clamp3-stages/{stage}"),
        metrics="results/metrics/clamp3/{stage}.tsv",
    log:
        "logs/train_clamp3_stage/{stage}.log",
    benchmark:
        "logs/timings/train_clamp3_stage/{stage}.tsv"
    threads: max(stage["training"]["threads"] for stage in config["clamp3"]["stages"].values())
    resources:
        mem_mb=8000,
        runtime=2880,
        gpu=1,
    params:
        cfg=clamp3_stage_params,
    shell:
        "exec python workflow/scripts/train_clamp3_stage.py --params {params.cfg:q}"
        " --train {input.train:q} --validation {input.validation:q} --m3 {input.m3:q}"
        " --tokenizer {input.tokenizer:q} --start {input.start:q} --out {output.model:q}"
        " --metrics {output.metrics:q} --resume results/resume/clamp3-{wildcards.stage}"
        " --log {log:q}"


rule publish_clamp3:
    """The model after the last stage, under one name."""
    input:
        f"results/models/clamp3-stages/{CLAMP3_STAGES[-1]}",
    output:
        directory("results/models/clamp3"),
    log:
        "logs/publish_clamp3.log",
    localrule: True
    shell:
        "cp -R {input:q} {output:q} 2> {log:q}"
