"""The pipeline from end to end, at toy size, with faults, a kill and a changed parameter."""

import json
import time

import pyarrow.parquet as pq
import pytest
import yaml
from snakemake.utils import update_config
from trees import PARAMS, Tree, copy_of_workflow
from waiting import wait_for

pytestmark = pytest.mark.slow

TOY = {
    "shards": 2,
    "corpus": {"ryans_mammoth": 24, "oneills_1850": 8, "bach_chorales": 4},
    "splits": {"validation_share": 0.15, "test_share": 0.3},
    "audio": {"render_share": 1.0, "render_seconds": 6.0},
    "m3": {"architecture": {"hidden_size": 64, "encoder_layers": 1}, "training": {"epochs": 2}},
    "clamp3": {"text": {"layers": 1}, "audio": {"layers": 1}},
    "lora": {"training": {"epochs": 1}},
    "clamp2": {"text": {"layers": 1}, "training": {"epochs": 2}},
}


def change_params(folder, changes):
    """Lay changes over the folder's params.yaml."""
    values = yaml.safe_load((folder / "params.yaml").read_text())
    update_config(values, changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def copy_of_repository(folder):
    """A work tree of the files that Git would carry, with toy parameters."""
    copy_of_workflow(folder)
    stages = {name: {"training": {"epochs": 2}} for name in PARAMS["clamp3"]["stages"]}
    change_params(folder, TOY | {"clamp3": TOY["clamp3"] | {"stages": stages}})
    return folder


def add_faults(tree):
    """A score that is no archive, an empty MIDI file, a row that names no file."""
    mxl = sorted((tree / "data/demo/mxl").rglob("*.mxl"))[0]
    mxl.write_bytes(b"not a zip archive")
    mid = sorted((tree / "data/demo/mid").rglob("*.mid"))[1]
    mid.write_bytes(b"")
    csv = tree / "data/demo/PDMX.csv"
    header, *rows = csv.read_text().splitlines()
    columns = header.split(",")
    row = dict(zip(columns, rows[0].split(","), strict=True))
    row |= {"path": "NA", "mxl": "NA", "mid": "NA", "pdf": "NA", "metadata": "NA"}
    csv.write_text("\n".join([header, *rows, ",".join(row[name] for name in columns)]) + "\n")
    return {"mxl": mxl.stem, "mid": mid.stem}


def toy(folder):
    """A tree with toy parameters, and its corpus."""
    tree = Tree(copy_of_repository(folder), PYTHONPATH=str(folder))
    run(tree, "corpus")
    return tree


def run(tree, *targets):
    return tree.run("snakemake", "-c2", *targets)


def killed_run(tree, sign, target):
    """Start Snakemake and SIGKILL it, not its jobs, when the file `sign` appears."""
    process = tree.start("snakemake", "-c2", target)

    def is_there():
        assert process.poll() is None, "ended before it was killed"
        return any(tree.folder.glob(sign))

    wait_for(is_there, 200)
    process.kill()
    process.wait()


def rejected(tree, pattern):
    """All rows of the rejected tables that match."""
    tables = [pq.read_table(path) for path in sorted((tree.folder / "data").glob(pattern))]
    assert tables
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tree whose corpus holds faults and whose run was killed twice, then finished."""
    tree = toy(tmp_path_factory.mktemp("tree"))
    faults = add_faults(tree.folder)
    killed_run(tree, "data/interleaved/part-*.parquet", "all")
    finished_parts = [*tree.folder.glob("data/abc/part-*.parquet")]
    assert finished_parts
    before = {path: path.stat().st_mtime_ns for path in finished_parts}
    time.sleep(1.5)  # an orphan would go on writing
    assert before == {path: path.stat().st_mtime_ns for path in before}
    killed_run(tree, "results/resume/m3*/*", "m3")
    assert before == {path: path.stat().st_mtime_ns for path in before}, "a shard was repeated"
    run(tree)
    return tree, faults


def test_nothing_is_left_to_do(finished):
    tree, _ = finished
    assert tree.plan() == {}


def test_faults_are_in_the_rejected_tables(finished):
    tree, faults = finished
    scores = {row["id"]: row for row in rejected(tree, "abc/rejected-*.parquet")}
    assert scores[f"pdmx/{faults['mxl']}"]["reason"]
    performances = {row["id"]: row for row in rejected(tree, "mtf/rejected-*.parquet")}
    assert performances[f"pdmx/{faults['mid']}"]["reason"]
    assert [row["kind"] for row in rejected(tree, "catalog/rejected.parquet")].count(
        "no_music"
    ) == 1


def test_held_out_figures_stand_beside_chance(finished):
    results = finished[0].folder / "results"
    report = json.loads((results / "evaluation/clamp3.json").read_text())
    figures = report["collections"]["pdmx"]["text_to_abc"]
    assert figures["references"] >= 4
    assert figures["chance"]["hit@1"] == pytest.approx(1 / figures["references"], abs=1e-6)
    assert (results / "report.html").stat().st_size > 10_000


def test_another_run_gives_the_same_figures(finished, tmp_path):
    """A run with two kills and one without end in the same metrics, to the last digit."""
    results = finished[0].folder / "results"
    other = toy(tmp_path)
    add_faults(other.folder)
    run(other)
    for name in ("metrics", "evaluation"):
        for path in sorted((results / name).rglob("*.*")):
            again = other.folder / "results" / path.relative_to(results)
            assert again.read_bytes() == path.read_bytes(), path.name


def test_a_lora_parameter_reruns_only_what_depends_on_it(finished):
    tree, _ = finished
    before = (tree.folder / "params.yaml").read_text()
    change_params(tree.folder, {"lora": {"rank": 2}})
    planned = tree.plan()
    (tree.folder / "params.yaml").write_text(before)
    assert set(planned) == {
        "train_adapter",
        "embed_adapted",
        "evaluate_lora",
        "compare_models",
        "evaluate_adapters",
        "write_report",
    }
