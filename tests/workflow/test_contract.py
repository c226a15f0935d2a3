"""dvc.yaml, the rules and the code describe the same stages."""

import re
from pathlib import Path

import pytest
from repository import ROOT, imported, snakemake
from trees import PARAMS, RULE_FILES, RULES, STAGES, dependencies
from trees import outs as outputs

# They check, log and report; they cannot change a result.
FOUNDATION = {f"clamp3/{name}.py" for name in ("config", "errors", "job", "logs")}


def scripts_of(stage):
    return re.findall(r"workflow/scripts/\w+\.py", RULE_FILES[stage].read_text())


def code(stage):
    return [dep for dep in dependencies(stage) if dep.startswith(("clamp3/", "workflow/"))]


def under(path, parents):
    return any(Path(path).is_relative_to(parent) for parent in parents)


def imports(path):
    """The files of this repository that a file imports."""
    for module in imported(ROOT / path):
        stem = module.replace(".", "/")
        for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
            if (ROOT / candidate).is_file():
                yield candidate


def closure(scripts):
    """All code that the scripts can run, without the foundation and empty packages."""
    found, waiting = set(), list(scripts)
    while waiting:
        path = waiting.pop()
        if path not in found and path not in FOUNDATION:
            found.add(path)
            waiting.extend(imports(path))
    return {path for path in found if (ROOT / path).read_text().strip()}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs(stage):
    scripts = set(scripts_of(stage))
    needed = closure(scripts) - {"clamp3/__init__.py"} | {f"workflow/rules/{stage}.smk"}
    listed = code(stage)
    missing = sorted(path for path in needed if not under(path, listed))
    assert not missing, f"add to deps of {stage} in dvc.yaml: {missing}"
    idle = [dep for dep in listed if not any(under(path, [dep]) for path in needed)]
    assert not idle, f"in deps of {stage} in dvc.yaml, but nothing imports it: {idle}"


@pytest.mark.parametrize("stage", STAGES)
def test_every_rule_with_a_script_depends_on_its_code(stage):
    for name, rule in RULES[stage].items():
        if "workflow/scripts/" in rule:
            assert f'code=stage_code("{stage}")' in rule, name


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_parameters_it_lists(stage):
    listed = set(STAGES[stage]["params"])
    assert listed <= set(PARAMS)
    for script in scripts_of(stage):
        text = (ROOT / script).read_text()
        read = set(re.findall(r'job\.(?:value|section)\(\s*"(\w+)"', text)) - {"stage", "text"}
        assert read <= listed, f"{script} reads {sorted(read - listed)}, not listed for {stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_only_its_own_rules(stage):
    assert STAGES[stage]["cmd"] == f"snakemake --nolock {stage}"
    settings = [
        s for out in STAGES[stage].get("outs", []) if isinstance(out, dict) for s in out.values()
    ]
    assert not any("persist" in each for each in settings)


@pytest.fixture(scope="module")
def jobs():
    """(inputs, outputs) of every job of a forced dry run."""
    flags = ["--dry-run", "--nolock", "--forceall", "--rerun-incomplete", "--cores", "2"]
    told = snakemake(*flags, "--workflow-profile", "none", DVC_BRIDGE="off")
    found = re.findall(r"^(?: *input: (.*)\n)? *output: (.*)$", told, re.MULTILINE)
    assert found
    return [(inputs.split(", "), made.split(", ")) for inputs, made in found]


def test_every_output_belongs_to_one_stage(jobs):
    for path in {path for _, made in jobs for path in made}:
        assert sum(under(path, outputs(stage)) for stage in STAGES) == 1, path


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_makes_what_dvc_expects(stage, jobs):
    for out in outputs(stage):
        made = [path for _, paths in jobs for path in paths]
        assert any(under(path, [out]) for path in made), f"no rule makes {out}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_what_dvc_watches(stage, jobs):
    own = outputs(stage)
    read = {path for inputs, made in jobs if under(made[0], own) for path in inputs}
    read = {path for path in read if path and not under(path, own)}
    listed = [dep for dep in dependencies(stage) if dep not in code(stage)]
    missing = sorted(path for path in read if not under(path, listed))
    assert not missing, f"add to deps of {stage} in dvc.yaml: {missing}"
    idle = [dep for dep in listed if not any(under(path, [dep]) for path in read)]
    assert not idle, f"in deps of {stage} in dvc.yaml, but no rule reads it: {idle}"


def test_make_clean_takes_what_stages_make_in_data_and_nothing_else():
    found = re.search(r"^DATA := ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.M)[1]
    made = {path for stage in STAGES for path in outputs(stage) if path.startswith("data/")}
    assert {f"data/{name}" for name in found.replace("\\", " ").split()} == made
