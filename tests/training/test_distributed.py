"""Several processes train what one would; the first writes, one that fails ends all."""

import os
import socket
import subprocess
import sys
import time

import pytest
import real_trainings
import tiny_task
import torch
from repository import ROOT
from safetensors.torch import load_file
from small_corpus import table

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


def curve(folder):
    """Step and loss of every row that training wrote."""
    rows = table(folder / "metrics.tsv")
    return [(row["split"], int(row["step"]), float(row["loss"])) for row in rows]


def assert_same_curve(ours, theirs):
    one, two = curve(ours), curve(theirs)
    assert [row[:2] for row in one] == [row[:2] for row in two]
    assert max(step for _, step, _ in one) >= 20
    for (*_, a), (*_, b) in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-5)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainings")
    real_trainings.prepare(folder)
    for kind in ("m3", "symbolic"):
        real_trainings.run(folder, kind, folder / f"{kind}-one")
    return folder


def on_two_nodes(*words, count="2x1", wait=200):
    """The same command on two nodes, which are this machine twice: status and errors of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = os.environ | {"ACCELERATE_USE_CPU": "true", "CLAMP3_RENDEZVOUS": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "clamp3.training.launch", count, *map(str, words)]
    launchers = [
        subprocess.Popen(
            command,
            env=common | {"CLAMP3_NODE": str(node)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for node in range(2)
    ]
    try:
        said = [launcher.communicate(timeout=wait)[1] for launcher in launchers]
    finally:
        for launcher in launchers:
            launcher.kill()
    return [(launcher.returncode, text) for launcher, text in zip(launchers, said, strict=True)]


@pytest.mark.parametrize("kind", ["m3", "symbolic"])
def test_two_processes_have_the_losses_of_one(place, kind):
    done = launch(real_trainings.__file__, place, kind, place / f"{kind}-two")
    assert done.returncode == 0, done.stderr
    assert_same_curve(place / f"{kind}-one", place / f"{kind}-two")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["m3", "symbolic"])
def test_two_nodes_have_the_losses_of_one(place, kind):
    done = on_two_nodes(real_trainings.__file__, place, kind, place / f"{kind}-nodes")
    assert [status for status, _ in done] == [0, 0], done
    assert_same_curve(place / f"{kind}-one", place / f"{kind}-nodes")


@pytest.mark.long
def test_where_a_node_loses_its_process_both_end_and_one_process_goes_on(place):
    out = place / "m3-dying"
    program = (real_trainings.__file__, place, "m3", out)
    done = on_two_nodes(*program, 7, 1)
    assert all(status for status, _ in done)
    assert not (out / "model").exists()
    assert (out / "resume/state.pt").exists()
    ended = launch(*program, 9)  # two processes go on, for nine steps
    assert ended.returncode == 1
    real_trainings.run(place, "m3", out)
    assert_same_curve(place / "m3-one", out)


@pytest.mark.parametrize(
    ("count", "environment", "expected"),
    [
        ("two", {}, "expected a number of processes, or 2x4"),
        ("0", {}, "expected a number of processes"),
        ("2x1", {}, "2 nodes asked for, in no Slurm job"),
        ("3x1", {"SLURM_JOB_NUM_NODES": "2"}, "in a Slurm job of 2 nodes: expected as many"),
        ("2x1", {"CLAMP3_NODE": "2", "CLAMP3_RENDEZVOUS": "a:1"}, "from 0 to 1"),
        ("2x1", {"CLAMP3_NODE": "0"}, "and host:port of node 0"),
    ],
)
def test_what_is_missing_is_told(count, environment, expected):
    command = [sys.executable, "-m", "clamp3.training.launch", count, "x.py"]
    free = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "CLAMP3_"))}
    done = subprocess.run(command, env=free | environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
