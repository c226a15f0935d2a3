"""The workflow is to the standard that its tools check."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from repository import ROOT, snakemake

RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))


# What the bridge finds in a developer's own work tree is not tested here.
WITHOUT_BRIDGE = {**os.environ, "DVC_BRIDGE": "off"}


def test_lint_is_clean():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"],
        cwd=ROOT,
        env=WITHOUT_BRIDGE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_stage_has_its_file_and_its_target():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {path.stem for path in RULES} == {*stages, "common", "tables"}  # tables: no stage
    for stage in stages:
        assert f"\nrule {stage}:\n" in (ROOT / f"workflow/rules/{stage}.smk").read_text()


def rules_of(path):
    """{name: text} of the rules in a file."""
    texts = path.read_text().split("\nrule ")[1:]
    return {text.split(":")[0]: text for text in texts}


def test_every_rule_is_documented_logs_and_is_timed():
    for path in RULES:
        for name, text in rules_of(path).items():
            assert '"""' in text, name
            if "shell:" in text:
                assert "log:" in text, name
                assert "benchmark:" in text, name


def test_the_list_of_rules_is_a_table_of_contents():
    stages = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    for path in RULES:
        for name, text in rules_of(path).items():
            place = f"Stage {stages.index(name) + 1}:" if name in stages else f"In {path.stem}:"
            assert f'"""{place} ' in text, f"{name}: the docstring must begin with {place!r}"


def test_the_container_is_built_from_the_constraints():
    assert 'container: "clamp3.sif"' in (ROOT / "Snakefile").read_text()
    assert "-c constraints.txt" in (ROOT / "Containerfile").read_text()


def test_scripts_are_thin():
    for path in Path(ROOT / "workflow/scripts").glob("*.py"):
        if "Job" in path.read_text():
            assert len(path.read_text().splitlines()) <= 30, path


def test_a_dry_run_knows_every_job():
    flags = ("--dry-run", "--nolock", "--forceall", "--rerun-incomplete", "-c2")
    told = snakemake(*flags, DVC_BRIDGE="off")
    for rule in (
        "build_demo_corpus",
        "convert_scores",
        "train_m3",
        "train_adapter",
        "write_report",
    ):
        assert rule in told
