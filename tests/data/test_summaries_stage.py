"""The stage `summaries`: its parameters, its script, and a ledger that outlives the outputs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from repository import ROOT
from samples import put
from summary_runs import running_server, settings
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.config import PipelineSummariesConfig, SummariesConfig, check, load_params
from clamp3.data.catalog import SCHEMA as CATALOG_SCHEMA
from clamp3.data.listing import list_parts, listed_parts
from clamp3.data.rejected import read_rejected
from clamp3.data.summaries.summarise import read_settings, summarise
from clamp3.errors import ConfigError
from clamp3.files import write_table

SCRIPT = ROOT / "workflow/scripts/summarise_catalog.py"
OUTPUTS = {"summaries.parquet", "summaries.jsonl", "rejected.parquet", "summaries.json"}


def stage_values():
    return yaml.safe_load((ROOT / "params.yaml").read_text())["summaries"]


def test_the_pipeline_and_the_command_have_the_same_defaults():
    command = read_settings().model_dump() | {"ledger": stage_values()["ledger"]}
    assert load_params(ROOT / "params.yaml").summaries.model_dump() == command
    assert read_settings(ROOT / "params.yaml").ledger == stage_values()["ledger"]


@pytest.mark.parametrize("path", ["data/summaries/x", "data/./x/../summaries/x.jsonl", None])
def test_the_ledger_does_not_lie_among_the_outputs(path):
    with pytest.raises(ConfigError, match="ledger: "):
        check(PipelineSummariesConfig, stage_values() | {"ledger": path}, "summaries")
    assert check(SummariesConfig, stage_values() | {"ledger": path}, "summaries").ledger == path


def test_neither_git_nor_make_clean_takes_the_ledger(tmp_path):
    ledger = stage_values()["ledger"]
    ignored = subprocess.run(["git", "check-ignore", "-q", ledger], cwd=ROOT)
    assert ignored.returncode == 0
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "data/summaries").mkdir(parents=True)
    put(tmp_path, ledger, "")
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [ledger.split("/")[-1]]


def write_catalog(tree, count):
    for part in range(2):
        rows = [
            {"id": f"pdmx/{number}", "title": f"Tune {number}", "genres": ["folk"], "tags": ["jig"]}
            for number in range(part, count, 2)
        ]
        table = pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA)
        write_table(tree / f"data/catalog/part-0000{part}-of-00002.parquet", table)
    for name in ("rejected.parquet", "part-00000-of-00003.parquet"):
        put(tree, f"data/catalog/{name}", "not read")
    list_parts(tree / "data/catalog", 2, tree / "data/catalog/parts.tsv")


def run_script(tree, values):
    params = json.dumps({"seed": 42, "summaries": values})
    words = ["--params", params, "--catalog", "data/catalog/parts.tsv", "--out", "data/summaries"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words, "--log", "logs/summaries.log"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done, (tree / "logs/summaries.log").read_text()


def test_templates_need_nothing(tmp_path):
    write_catalog(tmp_path, 6)
    done, log = run_script(tmp_path, stage_values())
    assert done.returncode == 0, done.stderr
    assert "summaries: 6 in, 6 out, 0 rejected" in log
    assert {path.name for path in (tmp_path / "data/summaries").iterdir()} == OUTPUTS
    rows = pq.read_table(tmp_path / "data/summaries/summaries.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"pdmx/{number}" for number in range(6)]
    assert read_rejected(tmp_path / "data/summaries/rejected.parquet") == []
    assert not (tmp_path / stage_values()["ledger"]).exists()


def test_outputs_that_are_gone_are_made_again_of_the_ledger(tmp_path, monkeypatch):
    write_catalog(tmp_path, 8)
    monkeypatch.chdir(tmp_path)
    catalog, _ = listed_parts(Path("data/catalog/parts.tsv"))
    out = Path("data/summaries")
    with running_server(monkeypatch) as server:
        chosen = settings(server, ledger=stage_values()["ledger"])
        summarise(catalog, out, settings=chosen, seed=42)
        first = (out / "summaries.parquet").read_bytes()
        shutil.rmtree(out)
        summarise(catalog, out, settings=chosen, seed=42)
        assert len(server.requests) == 8
    assert (out / "summaries.parquet").read_bytes() == first
    assert {path.name for path in out.iterdir()} == OUTPUTS


def test_the_command_reads_the_parameters_of_the_pipeline(tmp_path):
    write_catalog(tmp_path, 4)
    part = str(tmp_path / "data/catalog/part-00000-of-00002.parquet")
    words = ["summarise", part, str(tmp_path / "out"), "--settings", str(ROOT / "params.yaml")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "2 of 2 pieces have summaries" in done.output
