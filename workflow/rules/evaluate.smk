# Retrieval figures on held-out pieces: CLaMP 3, CLaMP 3 with LoRA, and the two side by side.


rule evaluate:
    """Stage 13: held-out retrieval figures, baseline against LoRA."""
    input:
        "results/evaluation/clamp3.json",
        "results/evaluation/lora.json",
        "results/evaluation/comparison.json",
        "results/evaluation/comparison.md",
        "results/evaluation/comparison.tsv",


rule evaluate_clamp3:
    """In evaluate: rank every held-out piece for every query, with CLaMP 3's vectors."""
    input:
        tables=[
            f"results/embeddings/clamp3/{collection}/{modality}.parquet"
            for collection in COLLECTIONS
            for modality in ["text", *MODALITIES[collection]]
        ],
        manifests=test_manifests(),
    output:
        "results/evaluation/clamp3.json",
    log:
        "logs/evaluate_clamp3.log",
    benchmark:
        "logs/timings/evaluate_clamp3.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=stage_params("evaluate"),
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/evaluate_model.py --params {params.cfg:q}"
        " --embeddings results/embeddings/clamp3 --manifests {input.manifests:q}"
        " --out {output:q} --log {log:q}"


rule evaluate_lora:
    """In evaluate: the same with the adapters' vectors of scores and performances."""
    input:
        tables=[
            f"results/embeddings/{model}/{collection}/{modality}.parquet"
            for collection in COLLECTIONS
            for modality in ["text", *MODALITIES[collection]]
            for model in (["lora"] if modality in ("abc", "mtf") else ["clamp3"])
        ],
        manifests=test_manifests(),
    output:
        "results/evaluation/lora.json",
    log:
        "logs/evaluate_lora.log",
    benchmark:
        "logs/timings/evaluate_lora.tsv"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        cfg=stage_params("evaluate"),
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/evaluate_model.py --params {params.cfg:q}"
        " --embeddings results/embeddings/lora results/embeddings/clamp3"
        " --manifests {input.manifests:q}"
        " --out {output:q} --log {log:q}"


rule compare_models:
    """In evaluate: CLaMP 3 and CLaMP 3 with LoRA side by side."""
    input:
        baseline="results/evaluation/clamp3.json",
        adapted="results/evaluation/lora.json",
    output:
        json="results/evaluation/comparison.json",
        table="results/evaluation/comparison.md",
    log:
        "logs/compare_models.log",
    benchmark:
        "logs/timings/compare_models.tsv"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/compare_models.py --baseline {input.baseline:q}"
        " --adapted {input.adapted:q} --json {output.json:q} --table {output.table:q} --log {log:q}"


rule tabulate_comparison:
    """In evaluate: the comparison as one row per direction and model, to be drawn as bars."""
    input:
        comparison="results/evaluation/comparison.json",
    output:
        table=report(
            ensure("results/evaluation/comparison.tsv", non_empty=True),
            caption="../report/comparison.rst",
            category="Retrieval",
        ),
    log:
        "logs/tabulate_comparison.log",
    benchmark:
        "logs/timings/tabulate_comparison.tsv"
    localrule: True
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/tabulate_comparison.py --comparison {input.comparison:q}"
        " --table {output.table:q} --log {log:q}"
