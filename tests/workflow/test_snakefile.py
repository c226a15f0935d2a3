"""The workflow is to the standard that its tools check."""

import subprocess
import sys
from pathlib import Path

import yaml
from repository import ROOT, snakemake

RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))


def test_lint_is_clean():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_stage_has_its_file_and_its_target():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {path.stem for path in RULES} == {*stages, "common"}
    for stage in stages:
        assert f"\nrule {stage}:\n" in (ROOT / f"workflow/rules/{stage}.smk").read_text()


def test_every_rule_is_documented_and_logs():
    for path in RULES:
        for rule in path.read_text().split("\nrule ")[1:]:
            assert '"""' in rule, rule.split(":")[0]
            assert "shell:" not in rule or "log:" in rule, rule.split(":")[0]


def test_scripts_are_thin():
    for path in Path(ROOT / "workflow/scripts").glob("*.py"):
        if "Job" in path.read_text():
            assert len(path.read_text().splitlines()) <= 30, path


def test_a_dry_run_knows_every_job():
    told = snakemake("--dry-run", "--nolock", "--forceall", "--rerun-incomplete", "-c2")
    for rule in (
        "build_demo_corpus",
        "convert_scores",
        "train_m3",
        "train_adapter",
        "write_report",
    ):
        assert rule in told
