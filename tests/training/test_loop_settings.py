"""Settings of the loop: steps, schedule, accumulation, checkpoints, exploding losses, trackers."""

import json
import math
import re
import sys
import types

import pytest
import tiny_task
import torch
from accelerate.utils import LoggerType
from repository import ROOT
from safetensors.torch import load_file
from small_corpus import m3_settings
from tiny_task import SETTINGS, Scored, TinyTask, run

from clamp3.errors import ConfigError, DataError
from clamp3.models.m3 import M3Model
from clamp3.training.optimization import checkpoint_gradients, learning_rate
from clamp3.training.watch import LossWatch


def settings(**changes):
    return SETTINGS.model_copy(update=changes)


def weights(folder):
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("steps", "epochs"), [(7, 2), (20, 4), (23, 5)])
def test_steps_decide_instead_of_epochs(tmp_path, steps, epochs):
    history = run(tmp_path, settings=settings(steps=steps, epochs=1))
    assert (history.steps, history.epochs) == (steps, epochs)


def test_cosine_falls_to_nothing_after_warm_up():
    chosen = settings(schedule="cosine")
    rates = [learning_rate(chosen, step, 26) for step in range(27)]
    assert rates[:6] == [learning_rate(SETTINGS, step, 26) for step in range(6)]
    assert rates[6] == 0.05
    assert rates[16] == pytest.approx(0.025)
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert 0 < rates[25] < 0.001
    assert rates[26] == pytest.approx(0)


class Even(TinyTask):
    """Batches of equal size, none of it random but the order."""

    def __init__(self, batch_size, **kwargs):
        super().__init__(pieces=24, batch_size=batch_size, **kwargs)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_accumulated_batches_are_one_large_batch(tmp_path, schedule):
    chosen = settings(dropout=0.0, schedule=schedule)
    large = run(tmp_path / "large", Even(8), chosen)
    small = run(tmp_path / "small", Even(4), chosen.model_copy(update={"accumulate": 2}))
    assert large.steps == small.steps == 12
    for name, value in weights(tmp_path / "large").items():
        torch.testing.assert_close(weights(tmp_path / "small")[name], value, atol=1e-5, rtol=1e-4)


def test_the_last_step_of_an_epoch_may_have_fewer_batches(tmp_path):
    assert run(tmp_path, Even(5), settings(accumulate=2)).steps == 4 * 3


def test_weights_of_the_last_epochs_and_the_best_are_kept(tmp_path):
    task = Scored(3.0, 1.0, 2.0, 4.0)
    run(tmp_path, task, settings(keep_checkpoints=2))
    folder = tmp_path / "resume-weights"
    names = ["best.safetensors", "epoch-0003.safetensors", "epoch-0004.safetensors"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name, epoch in zip(names, (2, 3, 4), strict=True):
        for key, value in load_file(folder / name).items():
            assert torch.equal(value, task.seen[epoch - 1][key])


def test_another_figure_decides_which_is_best(tmp_path):
    ranks = enumerate((0.1, 0.5, 0.9, 0.9), start=1)
    figures = [{"loss": float(loss), "rank": rank} for loss, rank in ranks]
    history = run(tmp_path / "a", Scored(*figures), settings(evaluate_by="rank"))
    assert (history.best_epoch, history.best_validation_loss) == (3, 3.0)
    with pytest.raises(ConfigError, match="evaluate_by: mrr; expected one of loss, rank"):
        run(tmp_path / "b", Scored(*figures), settings(evaluate_by="mrr"))


# --- losses to stop at ---


def _watch(losses):
    watch = LossWatch()
    for loss in losses:
        watch.add(loss)
    return watch


def test_a_limit_needs_losses_and_a_factor():
    assert _watch([1.0] * 9).limit(10) == math.inf
    assert _watch([1.0] * 10).limit(None) == math.inf
    assert _watch([1.0] * 10).limit(10) == 10
    assert _watch([9.0] * 10 + [1.0] * 100).limit(10) == 10


def test_small_losses_may_jump_below_the_first():
    assert _watch([3.0] * 10 + [0.01] * 100).limit(10) == 3


class Exploding(TinyTask):
    """The loss of the batch with piece 7 is huge from the third epoch on."""

    def collate(self, epoch, members):
        batch = super().collate(epoch, members)
        if epoch == 2 and 7 in members:
            batch.targets += 1e4
        return batch


def test_an_exploding_loss_is_written_down_with_its_batch(tmp_path):
    with pytest.raises(DataError, match=r"epoch 3 .*piece 7\b.*expected at most .*explosion"):
        run(tmp_path, Exploding())
    bad = json.loads((tmp_path / "metrics.bad-loss.json").read_text())
    assert bad["epoch"] == 3
    assert "piece 7" in bad["ids"]
    assert float(bad["loss"]) > 10 * float(bad["limit"])
    run(tmp_path, TinyTask(inputs="sound"))
    assert not (tmp_path / "metrics.bad-loss.json").exists()


@pytest.mark.parametrize("changes", [{"explosion_factor": None}, {"warmup_steps": 100}])
def test_an_explosion_is_let_through_on_demand_and_in_warm_up(tmp_path, changes):
    assert run(tmp_path, Exploding(), settings(**changes)).steps == 20


# --- memory, trackers, the bar ---


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = M3Model(m3_settings().architecture).train()
        if checkpointed:
            checkpoint_gradients(model)
        generator = torch.Generator().manual_seed(0)
        patches = torch.randint(4, 120, (2, 8, 64), generator=generator)
        torch.manual_seed(1)
        model.encoder(patches, torch.ones(2, 8)).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for name, value in gradients[0].items():
        assert torch.equal(gradients[1][name], value)
    with pytest.raises(ConfigError, match="no part of this model can"):
        checkpoint_gradients(torch.nn.Linear(2, 2))


def test_a_tracker_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("clamp3.training.conditions.get_available_trackers", list)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        run(tmp_path, settings=settings(tracker="tensorboard"))


def test_a_tracker_gets_the_figures_of_the_table(tmp_path, monkeypatch):
    logged, begun = [], {}
    fake = types.ModuleType("trackio")
    fake.config = types.SimpleNamespace(update=lambda values, **_: begun.update(values))
    logger = types.SimpleNamespace(
        log=lambda values, step=None, **_: logged.append((step, values)),
        finish=lambda: logged.append("end"),
    )
    fake.init = lambda **named: begun.update(named) or logger
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TRACKIO])
    history = run(tmp_path, settings=settings(tracker="trackio"))
    assert (begun["project"], begun["name"], begun["epochs"]) == ("clamp3", "tiny", "4")
    assert logged[-1] == "end"
    sent = [(step, values.get("validation/root")) for step, values in logged[:-1]]
    assert sent == [(row["step"], row.get("root")) for row in history.rows]


def test_the_bar_shows_rate_time_left_and_loss(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("clamp3.training.loop.STEPS_PER_ROW", 1)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    run(tmp_path)
    assert re.search(r"tiny 4/4: 100%.*00:00.*(it/s|s/it).*loss=\d", capsys.readouterr().err)


# --- the documentation ---


def test_the_documented_task_trains(tmp_path, monkeypatch):
    code = (ROOT / "docs/training.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(ROOT)
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(code, module.__dict__)
    history = module.main(tmp_path)
    assert max(row.get("accuracy", 0) for row in history.rows) > 0.9
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "resume").exists()


def test_compiled_training_learns_the_same(tmp_path, monkeypatch):
    """By a compiler that only calls what it is given; a real one takes a minute."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda f: compiled.append(f) or f)
    run(tmp_path / "compiled", settings=settings(compile=True))
    assert len(compiled) == 1
    run(tmp_path / "plain")
    ours, theirs = weights(tmp_path / "compiled"), weights(tmp_path / "plain")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert tiny_task.SETTINGS.compile is False
