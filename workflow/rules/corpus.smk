# The demo corpus, from the installed music21, in the layouts of the real data sets.


rule corpus:
    """Stage 1: demo corpus: PDMX.csv, scores, MIDI files, WikiMT-X and MidiCaps style lists."""
    input:
        "data/demo/PDMX.csv",


rule build_demo_corpus:
    """In corpus: export music21's tunes and chorales as MusicXML and MIDI, with their texts."""
    output:
        csv="data/demo/PDMX.csv",
        mxl=directory("data/demo/mxl"),
        mid=directory("data/demo/mid"),
        wikimt_x="data/demo/wikimt-x-public.jsonl",
        midicaps="data/demo/midicaps/train.json",
        midicaps_mid=directory("data/demo/midicaps/lmd_full"),
    log:
        "logs/build_demo_corpus.log",
    benchmark:
        "logs/timings/build_demo_corpus.tsv"
    threads: 2
    resources:
        mem_mb=more_memory(3000),
        runtime=more_time(30),
    params:
        cfg=stage_params("corpus"),
        code=stage_code("corpus"),
    shell:
        "exec python workflow/scripts/build_demo_corpus.py --params {params.cfg:q}"
        " --out data/demo --workers {threads} --log {log:q}"
