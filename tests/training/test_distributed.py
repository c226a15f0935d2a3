"""Several processes train what one would; the first writes, one that fails ends all."""

import os
import subprocess
import sys
import time

import pytest
import tiny_task
import torch
from repository import ROOT
from safetensors.torch import load_file

pytestmark = pytest.mark.slow


def launch(*words, **more):
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"} | more
    return subprocess.run(
        [sys.executable, "-m", "clamp3.training.launch", "2", *map(str, words)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_one_model(tmp_path, accumulate):
    done = launch(tiny_task.__file__, tmp_path / "two", "even", accumulate)
    assert done.returncode == 0, done.stderr
    tiny_task.run_even(tmp_path / "one", accumulate)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, atol=1e-4, rtol=1e-3)
    tables = [(tmp_path / name / "metrics.tsv").read_text().split("\n") for name in ("one", "two")]
    for one, two in zip(*tables, strict=True):
        for a, b in zip(one.split("\t"), two.split("\t"), strict=True):
            assert a == b or float(a) == pytest.approx(float(b), rel=1e-3)
    assert not (tmp_path / "two" / "resume").exists()


PROGRAM = """
import logging, os, sys, time
from pathlib import Path
from clamp3.errors import DataError
from clamp3.job import Job
with Job() as job:
    logging.getLogger("clamp3").info("process %s speaks", os.environ["RANK"])
    if os.environ["RANK"] == "1":
        said = Path(sys.argv[2])
        while not (said.exists() and "speaks" in said.read_text()):
            time.sleep(0.1)
        raise DataError("the second has a reason")
    time.sleep(120)
"""


def test_the_first_logs_and_one_that_fails_ends_all(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(PROGRAM)
    begun = time.monotonic()
    done = launch(script, "--log", tmp_path / "x.log")
    assert done.returncode == 1
    assert time.monotonic() - begun < 100
    assert "the second has a reason" in done.stderr
    assert "process 1 speaks" not in done.stderr
    assert (tmp_path / "x.log").read_text().count("speaks") == 1
