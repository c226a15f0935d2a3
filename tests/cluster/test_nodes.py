"""A training on two nodes of a real Slurm: the losses of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

sys.path.insert(0, str(ROOT / "tests/training"))

import real_trainings

pytestmark = pytest.mark.long


def rows(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "metrics.tsv").read_text().splitlines()]


@pytest.mark.parametrize("inside", ["", "srun --ntasks=1 --nodes=1"])
def test_two_nodes_have_the_losses_of_one(slurm, tmp_path, inside):
    """Started by the job's script, as for Snakemake's `mpi` jobs, or by a step of one task."""
    real_trainings.prepare(tmp_path)
    real_trainings.run(tmp_path, "m3", tmp_path / "one")
    words = ["-m", "clamp3.training.launch", "2x1", real_trainings.__file__, tmp_path, "m3"]
    command = " ".join(map(str, [inside, sys.executable, *words, tmp_path / "two"]))
    submit = [
        "sbatch",
        "--wait",
        "--partition=both",
        "--nodes=2",
        "--ntasks=2",
        "--mem=2000",
        "--time=2",
    ]
    log = tmp_path / "job.log"
    done = subprocess.run(
        [*submit, f"--output={log}", f"--chdir={ROOT}", f"--wrap={command}"],
        env=os.environ | {"PATH": slurm, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert len(one) == len(two)
    loss = one[0].index("loss")
    for a, b in zip(one[1:], two[1:], strict=True):
        assert float(b[loss]) == pytest.approx(float(a[loss]), rel=1e-5)
