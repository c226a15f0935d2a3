"""A training that is killed again and again ends as one that nothing disturbed."""

import multiprocessing
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import tiny_task
import torch
from tiny_task import SETTINGS, FailsAt, KilledError, run

from clamp3.training import conditions
from clamp3.training.resume import ResumeFolder

KILLS = 20
LONG = SETTINGS.model_copy(update={"epochs": 60, "schedule": "cosine", "accumulate": 2})


def _train(folder, pipe):
    """A training of 180 steps, in a process of its own, which tells of each."""
    conditions.SAVE_SECONDS, conditions.SAVE_SHARE = 0.0, 1e9
    with open(pipe, "w", buffering=1) as sys.stdout:  # where the task prints its steps
        run(folder, settings=LONG)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(tiny_task.__file__).parent))  # the server preloads it
    run(tmp_path / "whole", settings=LONG)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tiny_task"])
    chance = random.Random(7)
    folder = tmp_path / "killed"
    for kill in range(KILLS):
        steps = tmp_path / f"steps-{kill}"
        process = server.Process(target=_train, args=(folder, str(steps)))
        process.start()
        _wait_for_line(steps, chance.randint(1, 12), process)
        time.sleep(chance.uniform(0, 0.02))  # anywhere: computing, evaluating or saving
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert not (folder / "model.safetensors").exists()
    run(folder, settings=LONG)
    for name in ("model.safetensors", "metrics.tsv"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _wait_for_line(path: Path, count: int, process: multiprocessing.Process) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert process.is_alive(), "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def states(monkeypatch, eager_saving):
    """Every state that is saved, by step."""
    saved = {}

    def save(folder, state, plain=ResumeFolder.save):
        plain(folder, state)
        saved[state["progress"]["step"]] = torch.load(folder.file, weights_only=True)["state"]

    monkeypatch.setattr(ResumeFolder, "save", save)
    return saved


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_rate_and_moments_go_on_as_if_nothing_had_happened(tmp_path, states, schedule):
    chosen = SETTINGS.model_copy(update={"schedule": schedule})
    whole = run(tmp_path / "whole", settings=chosen)
    expected = dict(states)
    states.clear()
    with pytest.raises(KilledError):
        run(tmp_path / "killed", FailsAt(9), chosen)
    states.clear()
    assert run(tmp_path / "killed", tiny_task.TinyTask(), chosen).rows == whole.rows
    assert sorted(states) == list(range(10, 21))
    for step, state in states.items():
        _same(state["optimizer"], expected[step]["optimizer"])


def _same(ours, theirs):
    assert [group["lr"] for group in ours["param_groups"]] == [
        group["lr"] for group in theirs["param_groups"]
    ]
    assert ours["state"].keys() == theirs["state"].keys()
    assert len(ours["state"]) == 4
    for place, values in ours["state"].items():
        for name in ("step", "exp_avg", "exp_avg_sq"):
            assert torch.equal(values[name], theirs["state"][place][name])
        assert values["exp_avg"].abs().sum() > 0
