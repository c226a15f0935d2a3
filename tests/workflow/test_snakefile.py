"""The workflow is to the standard that its tools check."""

from pathlib import Path

import pytest
from repository import ROOT, snakemake
from trees import RULES, STAGES


def test_lint_is_clean():
    snakemake("--lint", DVC_BRIDGE="off")  # what the bridge finds here is not tested


def test_every_stage_has_its_file_and_its_target():
    assert {*RULES} == {*STAGES, "common", "tables"}  # tables: no stage
    for stage in STAGES:
        assert stage in RULES[stage]


def test_every_rule_is_documented_logs_and_is_timed():
    for rules in RULES.values():
        for name, text in rules.items():
            assert '"""' in text, name
            if "shell:" in text:
                assert "log:" in text, name
                assert "benchmark:" in text, name


def test_the_list_of_rules_is_a_table_of_contents():
    stages = list(STAGES)
    for file, rules in RULES.items():
        for name, text in rules.items():
            place = f"Stage {stages.index(name) + 1}:" if name in stages else f"In {file}:"
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
    told = snakemake(*flags, "all", "table_lora", DVC_BRIDGE="off")
    rules = ("build_demo_corpus", "convert_scores", "train_m3", "train_adapter", "write_report")
    for rule in (*rules, "make_table"):
        assert rule in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sed=1", "params.yaml: sed: Extra inputs are not permitted"),
        (
            "audio={source: folder}",
            "params.yaml: audio: Value error, source: folder; expected folder",
        ),
        ("splits={test_share: 0.95}", "params.yaml: splits: Value error, validation_share + test"),
    ],
)
def test_a_wrong_parameter_is_told_in_a_line(change, said):
    with pytest.raises(AssertionError) as told:
        snakemake("--dry-run", "--nolock", "-c1", "--config", change, DVC_BRIDGE="off")
    assert said in str(told.value)
    assert str(told.value).count("\n") < 30
