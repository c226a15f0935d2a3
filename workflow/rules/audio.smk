# Recordings (rendered for the demo) to one feature row per window, shard by shard.


rule audio:
    """Stage 6: features of every recording: one row per 5 seconds."""
    input:
        "data/features/parts.tsv",
        "data/recordings/origin.txt",


rule extract_features:
    """In audio: describe every window of one part's recordings, which the demo first plays."""
    input:
        catalog="data/catalog/{part}.parquet",
        sources=given(
            watched(f"{CORPUS}/mid" if IS_RENDERED else RECORDINGS),
            f"data/features/{PARTS[0]}.parquet",
        ),
    output:
        table=ensure("data/features/{part}.parquet", non_empty=True),
        rejected="data/features/rejected-{part}.parquet",
        rendered=directory("data/recordings/{part}") if IS_RENDERED else [],
    log:
        "logs/extract_features/{part}.log",
    benchmark:
        "logs/timings/extract_features/{part}.tsv"
    retries: tries(max(1, NETWORK_TRIES))  # with more memory
    group:
        "audio"
    resources:
        mem_mb=more_memory(3000),
        runtime=more_time(30, seconds_per_piece=20),
        gpu=1 if config["audio"]["front_end"] == "mert" else 0,
    params:
        cfg=stage_params("audio"),
        code=stage_code("audio"),
        recordings="data/recordings/{part}" if IS_RENDERED else RECORDINGS,
    shell:
        "exec python workflow/scripts/extract_features.py --params {params.cfg:q}"
        " --catalog {input.catalog:q} --recordings {params.recordings:q}"
        " --table {output.table:q} --rejected {output.rejected:q} --out {output.rendered:q}"
        " --log {log:q}"


rule name_recordings:
    """In audio: say where the recordings are from, in a file that changes when they do."""
    input:
        listings("features") if IS_RENDERED else [],  # made with the recordings
    output:
        "data/recordings/origin.txt",
    log:
        "logs/name_recordings.log",
    benchmark:
        "logs/timings/name_recordings.tsv"
    localrule: True
    params:
        origin=f"{CORPUS}/mid" if IS_RENDERED else RECORDINGS,
    shell:
        "(echo {params.origin:q}; cat /dev/null {input:q}) > {output:q} 2> {log:q}"


rule list_features:
    """In audio: list all parts with rows and hashes, for the stages that need every one."""
    input:
        expand("data/features/{part}.parquet", part=PARTS),  # rejects are made with them
    output:
        listing=ensure("data/features/parts.tsv", non_empty=True),
    log:
        "logs/list_features.log",
    benchmark:
        "logs/timings/list_features.tsv"
    localrule: True  # seconds
    resources:
        mem_mb=1000,
    params:
        cfg=stage_params("audio"),
        code=stage_code("audio"),
    shell:
        "exec python workflow/scripts/list_parts.py --params {params.cfg:q}"
        " --folder data/features --listing {output.listing:q} --log {log:q}"
