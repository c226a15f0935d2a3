# One page to look at.


rule report:
    """Stage 23: results/report.html: curves, tables, a map of the space, retrieved examples."""
    input:
        "results/report.html",


rule write_report:
    """In report: draw the report from metrics, vectors and texts."""
    input:
        counts="data/manifests/counts.json",
        catalog="data/catalog/parts.tsv",
        manifests=test_manifests(),
        stores=listings("interleaved", "features"),
        summaries="data/summaries/summaries.json",
        curves=[
            "results/metrics/m3.tsv",
            *expand(
                "results/metrics/clamp3/{stage}.tsv", stage=config["clamp3"]["stages"]
            ),
            *expand("results/metrics/lora/{adapter}.tsv", adapter=["abc", "mtf"]),
            "results/metrics/clap_text.tsv",
            "results/metrics/clap_heads.tsv",
            "results/metrics/clamp2.tsv",
        ],
        tables=[
            f"results/embeddings/clamp3/{collection}/{modality}.parquet"
            for collection in COLLECTIONS
            for modality in ["text", *MODALITIES[collection]]
        ],
        evaluation=expand(
            "results/evaluation/{name}.json",
            name=["clamp3", "lora", "comparison", "clap_musicgen", "clamp2"],
        ),
    output:
        report(
            "results/report.html",
            caption="../report/report.rst",
            category="Retrieval",
        ),
    log:
        "logs/write_report.log",
    benchmark:
        "logs/timings/write_report.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(30),
    params:
        cfg=stage_params("report"),
        code=stage_code("report"),
    shell:
        "exec python workflow/scripts/write_report.py --params {params.cfg:q} --data data"
        " --results results --needed {input:q} --out {output:q} --log {log:q}"
