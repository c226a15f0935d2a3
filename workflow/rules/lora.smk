# LoRA adapters of the symbolic tower, one for scores (abc) and one for performances (mtf).


rule lora:
    """Stage 10: LoRA adapters for scores and for performances."""
    input:
        expand("results/models/lora/{adapter}", adapter=["abc", "mtf"]),
        expand("results/metrics/lora/{adapter}.tsv", adapter=["abc", "mtf"]),
        expand("results/metrics/lora/{adapter}.json", adapter=["abc", "mtf"]),


rule train_adapter:
    """In lora: train the adapter of one format on the frozen CLaMP 3, resumable at any kill."""
    input:
        model="results/models/clamp3",
        train="data/manifests/pdmx-{adapter}-train.jsonl",
        validation="data/manifests/pdmx-{adapter}-validation.jsonl",
        guard=guard_manifest,
        store=adapter_store,
    output:
        adapter=directory("results/models/lora/{adapter}"),
        history="results/metrics/lora/{adapter}.json",
        metrics=report(
            ensure("results/metrics/lora/{adapter}.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_adapter/{adapter}.log",
    benchmark:
        "logs/timings/train_adapter/{adapter}.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(config["lora"]["training"])
    resources:
        **machines(config["lora"]["training"]),
        mem_mb=more_memory(6000),
        runtime=more_time(1440),
    params:
        cfg=stage_params("lora"),
        code=stage_code("lora"),
        launch=launcher(config["lora"]["training"]),
    shell:
        "exec {params.launch} workflow/scripts/train_adapter.py --params {params.cfg:q}"
        " --modality {wildcards.adapter} --model {input.model:q} --train {input.train:q}"
        " --validation {input.validation:q} --guard {input.guard:q} --out {output.adapter:q}"
        " --metrics {output.metrics:q} --json {output.history:q}"
        " --resume results/resume/lora-{wildcards.adapter} --log {log:q}"
