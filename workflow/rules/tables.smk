# The tables of the papers, published beside computed here: `snakemake table_lora`. No stages of
# dvc.yaml and no part of `all`: they take what there is of weights and data sets, and say of the
# rest that it is not. What they need of the pipeline (manifests, stores) is made first.
from papers import Papers

TABLES_FILE = "workflow/tables.yaml"
PAPERS = Papers(Path(workflow.basedir) / TABLES_FILE, test_manifests())


rule table_text_to_music:
    """In tables: English text to scores, performances and recordings (CLaMP 3, tables 2 and 5)."""
    input:
        "results/tables/text_to_music.md",


rule table_multilingual:
    """In tables: text in ten languages to music (CLaMP 3, tables 3 and 6)."""
    input:
        "results/tables/multilingual.md",


rule table_crossmodal:
    """In tables: scores, performances and recordings to each other (CLaMP 3, tables 4 and 7)."""
    input:
        "results/tables/crossmodal.md",


rule table_probes:
    """In tables: linear probes of the embeddings (CLaMP 3, tables 8 and 11)."""
    input:
        "results/tables/probes.md",


rule table_lora:
    """In tables: CLaMP 3 with and without the adapters of the LoRA project."""
    input:
        "results/tables/lora.md",


rule embed_paper_sets:
    """In tables: embed every collection but PDMX with one of the models of workflow/tables.yaml."""
    input:
        model=PAPERS.model_inputs,
        tables=TABLES_FILE,
        manifests=PAPERS.collections,
        stores=listings("interleaved", "mtf", "features"),
    output:
        directory("results/tables/embeddings/{model}"),
    log:
        "logs/embed_paper_sets/{model}.log",
    benchmark:
        "logs/timings/embed_paper_sets/{model}.tsv"
    wildcard_constraints:
        model="|".join(PAPERS.models),
    threads: config["embed"]["threads"]
    resources:
        mem_mb=more_memory(16000),
        runtime=more_time(480),
        gpu=1,
    params:
        cfg=stage_params("embed"),
        code=stage_code("embed"),
    shell:
        "exec python workflow/scripts/embed_paper_sets.py --params {params.cfg:q}"
        " --tables {input.tables:q} --model {wildcards.model:q} --manifests {input.manifests:q}"
        " --out {output:q} --log {log:q}"


rule make_table:
    """In tables: a table of a paper, published figures beside those of the models that are here."""
    input:
        PAPERS.table_inputs,
        tables=TABLES_FILE,
        code=expand(
            "clamp3/retrieval/evaluation/{module}.py",
            module=["paper_cells", "paper_tables"],
        ),
    output:
        markdown="results/tables/{table}.md",
        rows="results/tables/{table}.tsv",
    log:
        "logs/make_table/{table}.log",
    benchmark:
        "logs/timings/make_table/{table}.tsv"
    wildcard_constraints:
        table="|".join(PAPERS.tables),
    resources:
        mem_mb=more_memory(8000),
        runtime=more_time(240),
    params:
        embeddings=PAPERS.folders_json,
        manifests=PAPERS.manifests_json,
        code=stage_code("evaluate"),
    shell:
        "exec python workflow/scripts/make_table.py --table {wildcards.table:q}"
        " --tables {input.tables:q} --embeddings {params.embeddings:q}"
        " --manifests {params.manifests:q} --markdown {output.markdown:q}"
        " --rows {output.rows:q} --log {log:q}"
