"""Profiles are what their plugins take, and name the rules that there are."""

import re
from importlib.util import find_spec

import pytest
import trees
import yaml
from repository import ROOT, python
from yte import process_yaml

CLUSTERS = ["slurm", "cluster-generic", "kubernetes"]
RULES = {name: text for rules in trees.RULES.values() for name, text in rules.items()}
# Prints what Snakemake understands of its command line.
PARSED = """
import json, sys
from snakemake.cli import parse_args
args = parse_args(sys.argv[1:])[1]
print(json.dumps({name: str(value) for name, value in vars(args).items()}))
"""


def profile(name):
    """A profile as Snakemake reads it, in the folder that it does."""
    with open(ROOT / f"profiles/{name}/config.yaml") as stream:
        return process_yaml(stream, require_use_yte=True)


def parsed(*arguments):
    """Snakemake's settings under some arguments; fails as Snakemake does."""
    return yaml.safe_load(python("-c", PARSED, *arguments))


def need_plugin(name):
    """Skip where the plugin of a profile is not installed: `make test-long` installs it."""
    plugin = f"snakemake_executor_plugin_{name.replace('-', '_')}"
    if not find_spec(plugin):
        pytest.skip(f"pip install {plugin.replace('_', '-')}")


@pytest.mark.long
@pytest.mark.parametrize("name", CLUSTERS)
def test_the_plugin_takes_every_key(name):
    need_plugin(name)
    settings = parsed("--profile", f"profiles/{name}")
    assert settings["executor"] == name
    for key, value in profile(name).items():
        if isinstance(value, str | int):
            assert str(value) in settings[key.replace("-", "_")], key


def test_a_key_that_no_plugin_knows_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("slurm-no-such-key: 1\n")
    with pytest.raises(AssertionError, match="slurm-no-such-key"):
        parsed("--profile", str(tmp_path))


@pytest.mark.parametrize("name", ["slurm", "slurm-gpu", "cluster-generic"])
def test_every_rule_that_can_use_a_gpu_is_told_where_to_run(name, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("audio: {front_end: mert}\n")
    monkeypatch.chdir(tmp_path)
    with_gpu = {
        rule for rule, text in RULES.items() if re.search(r"^ +(gpu=|\*\*machines)", text, re.M)
    }
    assert "train_m3" in with_gpu
    assert set(profile(name)["set-resources"]) == with_gpu


def test_groups_are_those_of_the_rules(monkeypatch):
    monkeypatch.chdir(ROOT)
    groups = {name for text in RULES.values() for name in re.findall(r'group:\s+"(\w+)"', text)}
    for name in [*CLUSTERS, "slurm-gpu"]:
        assert set(profile(name)["group-components"]) == groups


def test_tiny_jobs_stay_on_the_machine_that_snakemake_runs_on():
    local = {name for name, text in RULES.items() if "localrule: True" in text}
    assert {name for name in RULES if name.startswith("list_")} <= local


def test_the_page_shows_the_lines_to_edit_as_they_are():
    page = (ROOT / "docs/cluster.md").read_text()
    for name, numbers in (("slurm", "12345"), ("slurm-gpu", "6")):
        lines = (ROOT / f"profiles/{name}/config.yaml").read_text().splitlines()
        marked = [line for line in lines if re.search(r"# \d", line)]
        assert "".join(re.search(r"# (\d)", line)[1] for line in marked) == numbers
        for line in marked:
            assert line.split("#")[0].strip() in page, line


def test_without_a_cluster_all_cores_of_this_machine_are_used():
    assert parsed()["cores"] != "8"


@pytest.mark.long
def test_a_cluster_profile_says_how_many_cores():
    need_plugin("cluster-generic")
    assert parsed("--profile", "profiles/cluster-generic")["cores"] == "8"


def test_a_part_of_many_pieces_gets_more_minutes(tmp_path):
    tree = trees.Tree.of_stand_ins(tmp_path / "tree", shards=2)
    parts = [f"part-0000{number}-of-00002.parquet" for number in (0, 1)]
    (tree.folder / "data/catalog").mkdir(parents=True)
    listed = f"file\trows\tsha256\n{parts[0]}\t60000\t0\n{parts[1]}\t1\t0\n"
    (tree.folder / "data/catalog/parts.tsv").write_text(listed)
    told = tree.run(
        *["snakemake", *(f"data/abc/{part}" for part in parts)],
        *["--dry-run", "--cores", "1", "--quiet", "host"],
    )
    asked = re.findall(r"rule convert_scores:.*?runtime=(\d+)", told, re.S)
    assert sorted(asked, key=int) == ["21", "320"]
