"""The pipeline from end to end, at toy size, with faults, a kill and a changed parameter."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT, snakemake

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


def overlay(values, changes):
    """`values` with `changes` laid over it, key by key."""
    for key, change in changes.items():
        if isinstance(change, dict):
            overlay(values[key], change)
        else:
            values[key] = change


def change_params(tree, changes):
    """Edit the tree's params.yaml."""
    values = yaml.safe_load((tree / "params.yaml").read_text())
    overlay(values, changes)
    (tree / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def copy_of_repository(folder):
    """A work tree of the files that Git would carry, with toy parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "results/", "data/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    toy = dict(TOY)
    stages = yaml.safe_load((ROOT / "params.yaml").read_text())["clamp3"]["stages"]
    toy["clamp3"] |= {"stages": {name: {"training": {"epochs": 2}} for name in stages}}
    change_params(folder, toy)
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


def environment():
    """Without the plugins of this test run; the tree's own package comes first."""
    return {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def run(tree, *targets):
    return snakemake("-c2", *targets, cwd=tree, **environment(), PYTHONPATH=str(tree))


def killed_run(tree, sign, target):
    """Start Snakemake and SIGKILL it when the file `sign` appears; whether that happened."""
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "-c2", target],
        cwd=tree,
        env={**environment(), "PYTHONPATH": str(tree)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if any(tree.glob(sign)):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.02)
    return False


def rejected(tree, pattern):
    """All rows of the rejected tables that match."""
    tables = [pq.read_table(path) for path in sorted((tree / "data").glob(pattern))]
    assert tables
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tree whose corpus holds faults and whose run was killed twice, then finished."""
    tree = copy_of_repository(tmp_path_factory.mktemp("tree"))
    run(tree, "corpus")
    faults = add_faults(tree)
    assert killed_run(tree, "data/interleaved/part-*.parquet", "all")
    finished_parts = [*tree.glob("data/abc/part-*.parquet")]
    assert finished_parts
    before = {path: path.stat().st_mtime_ns for path in finished_parts}
    time.sleep(1.5)  # an orphan would go on writing
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert killed_run(tree, "results/resume/m3*/*", "m3")
    assert before == {path: path.stat().st_mtime_ns for path in before}, "a shard was repeated"
    run(tree)
    return tree, faults


def test_nothing_is_left_to_do(finished):
    tree, _ = finished
    assert "Nothing to be done" in run(tree, "--dry-run")


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
    tree, _ = finished
    report = json.loads((tree / "results/evaluation/clamp3.json").read_text())
    figures = report["collections"]["pdmx"]["text_to_abc"]
    assert figures["references"] >= 4
    assert figures["chance"]["hit@1"] == pytest.approx(1 / figures["references"], abs=1e-6)
    assert (tree / "results/report.html").stat().st_size > 10_000


def test_another_run_gives_the_same_figures(finished, tmp_path):
    """A run with two kills and one without end in the same metrics, to the last digit."""
    tree, _ = finished
    other = copy_of_repository(tmp_path)
    run(other, "corpus")
    add_faults(other)
    run(other)
    for name in ("metrics", "evaluation"):
        for path in sorted((tree / "results" / name).rglob("*.*")):
            assert (other / path.relative_to(tree)).read_bytes() == path.read_bytes(), path.name


def test_a_lora_parameter_reruns_only_what_depends_on_it(finished):
    tree, _ = finished
    before = (tree / "params.yaml").read_text()
    change_params(tree, {"lora": {"rank": 2}})
    told = run(tree, "--dry-run", "--quiet", "host")
    (tree / "params.yaml").write_text(before)
    jobs = {
        "train_adapter",
        "embed_adapted",
        "evaluate_lora",
        "compare_models",
        "evaluate_adapters",
        "write_report",
        "all",
    }
    listed = told.split("Job stats:")[1].split("total")[0].splitlines()
    assert {line.split()[0] for line in listed if line[:1].isalpha()} - {"job"} == jobs
