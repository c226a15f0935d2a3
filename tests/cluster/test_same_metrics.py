"""The real scripts at toy size: training and evaluation through Slurm, against a local run."""

import shutil

import pytest
from cluster_tree import ClusterTree, site
from test_pipeline import copy_of_repository, run

pytestmark = pytest.mark.long

TARGET = "results/evaluation/clamp3.json"
MADE_AGAIN = ["models", "metrics", "embeddings", "evaluation", "resume"]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A tree of the toy corpus with everything up to CLaMP 3's figures."""
    tree = copy_of_repository(tmp_path_factory.mktemp("local") / "tree")
    run(tree, TARGET)
    return tree


def figures(folder):
    """{path: content} of all metrics and evaluations."""
    paths = [path for name in ("metrics", "evaluation") for path in (folder / name).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_training_on_the_cluster_ends_in_the_same_figures(slurm, local, tmp_path):
    tree = ClusterTree(shutil.copytree(local, tmp_path / "tree", symlinks=True))
    tree.slurm = slurm
    tree = tree.other(tree.folder)
    site(tree)
    for name in MADE_AGAIN:
        shutil.rmtree(tree.folder / "results" / name)
    tree.submit("--profile", "profiles/slurm-gpu", TARGET, PYTHONPATH=str(tree.folder))
    expected = figures(local / "results")
    assert "metrics/m3.tsv" in expected
    assert figures(tree.folder / "results") == expected
    trained = [job for job in tree.jobs() if "train_m3" in job.rule or "train_clamp3" in job.rule]
    assert [job.gpus for job in trained] == ["gres:gpu:1"] * 3
    assert {job.state for job in tree.jobs()} == {"COMPLETED"}
