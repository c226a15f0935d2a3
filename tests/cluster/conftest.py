"""A real Slurm, and work trees that are set up for it as docs/cluster.md tells."""

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "workflow"))

import slurm as program
from cluster_tree import ClusterTree, site


@pytest.fixture(scope="session")
def slurm():
    """The PATH on which Slurm's commands reach a cluster of two nodes that runs meanwhile."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install clamp3[slurm]")
    if reason := program.install():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        program.running(f"{folder}/s") as started,
    ):
        yield started.path


@pytest.fixture(scope="session")
def origin(slurm, tmp_path_factory):
    """A work tree of stand-ins in which nothing is made yet, its profile edited for this site."""
    tree = ClusterTree.of_stand_ins(tmp_path_factory.mktemp("origin") / "tree", shards=6)
    tree.slurm = slurm
    site(tree)
    tree.commit("site")
    return tree


@pytest.fixture(scope="session")
def by_local(origin, tmp_path_factory):
    """What a local run up to m3 makes of it."""
    tree = origin.copy(tmp_path_factory.mktemp("local") / "tree")
    tree.run("snakemake", "--cores", "2", "m3")
    return tree


@pytest.fixture
def tree(origin, tmp_path):
    """A fresh copy."""
    return origin.copy(tmp_path / "tree")
