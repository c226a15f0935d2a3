# The text model of CLAP-MusicGen, tuned on captions.


rule clap_text:
    """Stage 16: a text model that has filled in hidden words of captions."""
    input:
        "results/models/clap_text",
        "results/metrics/clap_text.tsv",


rule train_masked_text:
    """In clap_text: tune the text model on the training captions, resumable at any kill."""
    input:
        train=manifests("audio", "train"),
        validation=manifests("audio", "validation"),
    output:
        model=directory("results/models/clap_text"),
        metrics=report(
            ensure("results/metrics/clap_text.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_masked_text.log",
    benchmark:
        "logs/timings/train_masked_text.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(config["clap_text"]["masked_text"]["training"])
    resources:
        **machines(config["clap_text"]["masked_text"]["training"]),
        mem_mb=more_memory(6000),
        runtime=more_time(1440),
    params:
        cfg=stage_params("clap_text"),
        code=stage_code("clap_text"),
        launch=launcher(config["clap_text"]["masked_text"]["training"]),
    shell:
        "exec {params.launch} workflow/scripts/train_masked_text.py --params {params.cfg:q}"
        " --train {input.train:q} --validation {input.validation:q} --out {output.model:q}"
        " --metrics {output.metrics:q} --resume results/resume/clap_text --log {log:q}"
