# CLAP-MusicGen: MusicGen hears, RoBERTa reads, two heads learn to rank alike.


rule clap_heads:
    """Stage 17: CLAP-MusicGen, its heads trained on what both towers say."""
    input:
        "results/models/clap_musicgen",
        "results/metrics/clap_heads.tsv",


rule train_clap_heads:
    """In clap_heads: train the heads on what both towers say, resumable at any kill."""
    input:
        train=manifests("audio", "train"),
        validation=manifests("audio", "validation"),
        states="data/states",
        musicgen=MUSICGEN,
        text="results/models/clap_text",
    output:
        model=directory("results/models/clap_musicgen"),
        metrics=report(
            ensure("results/metrics/clap_heads.tsv", non_empty=True),
            caption="../report/curve.rst",
            category="Training",
        ),
    log:
        "logs/train_clap_heads.log",
    benchmark:
        "logs/timings/train_clap_heads.tsv"
    retries: tries(1)  # goes on where it stopped
    threads: cores(config["clap_heads"]["training"])
    resources:
        **machines(config["clap_heads"]["training"]),
        mem_mb=more_memory(6000),
        runtime=more_time(1440),
    params:
        cfg=stage_params("clap_heads"),
        code=stage_code("clap_heads"),
    shell:
        "exec python workflow/scripts/train_clap_heads.py --params {params.cfg:q}"
        " --train {input.train:q} --validation {input.validation:q} --states {input.states:q}/parts.tsv"
        " --text {input.text:q} --out {output.model:q} --metrics {output.metrics:q}"
        " --resume results/resume/clap_heads --log {log:q}"
