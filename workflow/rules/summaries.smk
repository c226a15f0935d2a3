# What each piece is, in English and in another language: the texts that CLaMP 2 learns from.


rule summaries:
    """Stage 19: a summary of every piece in English and one in another language."""
    input:
        "data/summaries/summaries.parquet",
        "data/summaries/summaries.jsonl",
        "data/summaries/rejected.parquet",
        "data/summaries/summaries.json",


# What a language model answered lies in `ledger`, which no rule makes or removes: a job that was
# killed, or whose outputs are gone, asks for nothing twice.
rule summarise_catalog:
    """In summaries: have every piece of the catalogue summarised by the chosen writer."""
    input:
        catalog="data/catalog/parts.tsv",
    output:
        table="data/summaries/summaries.parquet",
        lines="data/summaries/summaries.jsonl",
        rejected="data/summaries/rejected.parquet",
        report=ensure("data/summaries/summaries.json", non_empty=True),
    log:
        "logs/summarise_catalog.log",
    benchmark:
        "logs/timings/summarise_catalog.tsv"
    resources:
        mem_mb=more_memory(4000),
        runtime=more_time(2880),
    params:
        cfg=stage_params("summaries"),
        code=stage_code("summaries"),
    shell:
        "exec python workflow/scripts/summarise_catalog.py --params {params.cfg:q}"
        " --catalog {input.catalog:q} --out data/summaries --log {log:q}"
