# Retrieval figures on held-out pieces: CLaMP 3, CLaMP 3 with LoRA, and the two side by side.


ADAPTER_REPORTS = [
    f"results/evaluation/adapters/evaluation_{name}"
    for name in [
        "baseline_report.json",
        "lora_report.json",
        "comparison_report.json",
        "summary.txt",
    ]
]
# Collections that the LoRA project evaluates on, by their names in params.yaml.
ADAPTER_SETS = [
    name for name in ["wikimt_x", "midicaps", "lakh"] if name in COLLECTIONS
]
ADAPTER_TABLES = [
    f"{collection}/{modality}.parquet"
    for collection in ADAPTER_SETS
    for modality in MODALITIES[collection]
    if modality in ("abc", "mtf")
]


rule evaluate:
    """Stage 13: held-out retrieval figures, baseline against LoRA."""
    input:
        ADAPTER_REPORTS,
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
        figures="results/evaluation/clamp3.json",
        ranks="results/evaluation/ranks/clamp3.parquet",
        unmatched="results/evaluation/ranks/clamp3-unmatched.parquet",
    log:
        "logs/evaluate_clamp3.log",
    benchmark:
        "logs/timings/evaluate_clamp3.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(60),
    params:
        cfg=stage_params("evaluate"),
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/evaluate_model.py --params {params.cfg:q}"
        " --embeddings {input.tables:q} --manifests {input.manifests:q}"
        " --out {output.figures:q} --ranks {output.ranks:q} --unmatched {output.unmatched:q}"
        " --log {log:q}"


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
        figures="results/evaluation/lora.json",
        ranks="results/evaluation/ranks/lora.parquet",
        unmatched="results/evaluation/ranks/lora-unmatched.parquet",
    log:
        "logs/evaluate_lora.log",
    benchmark:
        "logs/timings/evaluate_lora.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(60),
    params:
        cfg=stage_params("evaluate"),
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/evaluate_model.py --params {params.cfg:q}"
        " --embeddings {input.tables:q} --manifests {input.manifests:q}"
        " --out {output.figures:q} --ranks {output.ranks:q} --unmatched {output.unmatched:q}"
        " --log {log:q}"


rule compare_models:
    """In evaluate: CLaMP 3 and CLaMP 3 with LoRA side by side, query by query."""
    input:
        baseline="results/evaluation/clamp3.json",
        adapted="results/evaluation/lora.json",
        ranks=expand(
            "results/evaluation/ranks/{model}.parquet", model=["clamp3", "lora"]
        ),
    output:
        json="results/evaluation/comparison.json",
        table="results/evaluation/comparison.md",
        rows=report(
            ensure("results/evaluation/comparison.tsv", non_empty=True),
            caption="../report/comparison.rst",
            category="Retrieval",
        ),
    log:
        "logs/compare_models.log",
    benchmark:
        "logs/timings/compare_models.tsv"
    resources:
        mem_mb=more_memory(2000),
        runtime=more_time(30),
    params:
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/compare_models.py --baseline {input.baseline:q}"
        " --adapted {input.adapted:q} --places {input.ranks:q} --json {output.json:q}"
        " --table {output.table:q} --rows {output.rows:q} --log {log:q}"


rule evaluate_adapters:
    """In evaluate: the LoRA project's files on WikiMT-X, MidiCaps and Lakh."""
    input:
        baseline=expand("results/embeddings/clamp3/{table}", table=ADAPTER_TABLES),
        adapted=expand("results/embeddings/lora/{table}", table=ADAPTER_TABLES),
        texts=expand(
            "results/embeddings/clamp3/{collection}/text.parquet",
            collection=ADAPTER_SETS,
        ),
        manifests=test_manifests(),
    output:
        ADAPTER_REPORTS,
    log:
        "logs/evaluate_adapters.log",
    benchmark:
        "logs/timings/evaluate_adapters.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(30),
    params:
        cfg=stage_params("evaluate"),
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/evaluate_adapters.py --params {params.cfg:q}"
        " --baseline {input.baseline:q} {input.texts:q}"
        " --adapted {input.adapted:q} {input.texts:q}"
        " --manifests {input.manifests:q}"
        " --out results/evaluation/adapters --log {log:q}"
