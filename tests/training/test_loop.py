"""The training loop: what it learns, keeps, writes, and how it goes on after a kill."""

import re

import pytest
import tiny_task
import torch
from small_corpus import table
from tiny_task import SETTINGS, WORSE, FailsAt, KilledError, Scored, TinyTask, assert_now, run

from clamp3.errors import ConfigError, DataError
from clamp3.training.curves import write_metrics
from clamp3.training.optimization import freeze, learning_rate, set_training_mode


def _files(folder):
    return [(folder / name).read_bytes() for name in ("model.safetensors", "metrics.tsv")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def test_learns_and_says_what_it_did(tmp_path):
    long = SETTINGS.model_copy(update={"epochs": 40})
    task = TinyTask()
    before = task.evaluate("cpu")["loss"]
    history = run(tmp_path, task, long)
    assert history.best_validation_loss < before / 4
    assert history.epochs == 40
    assert history.steps == 40 * 5
    assert history.trainable_parameters == 8 * 16 + 16 + 16 + 1
    assert "rows" not in history.summary()
    assert not (tmp_path / "resume").exists()


def test_table_has_figures_and_no_times(finished):
    rows = table(finished / "metrics.tsv")
    assert list(rows[0]) == ["step", "epoch", "split", "loss", "learning_rate", "root"]
    heard = [row for row in rows if row["split"] == "validation"]
    assert [row["step"] for row in heard] == ["5", "10", "15", "20"]
    assert all(abs(float(row["loss"]) ** 0.5 - float(row["root"])) < 1e-4 for row in heard)
    learned = [row for row in rows if row["split"] == "train"]
    assert [row["epoch"] for row in learned] == ["1", "2", "3", "4"]
    assert all(row["root"] == "" for row in learned)
    assert [float(row["learning_rate"]) for row in learned] == [0.0416667, 0.05, 0.05, 0.05]


def test_warm_up_rises_evenly_to_a_constant():
    rates = [learning_rate(SETTINGS, step, 20) for step in range(9)]
    assert rates == pytest.approx([0.05 * min(1, (step + 1) / 6) for step in range(9)])
    assert learning_rate(SETTINGS.model_copy(update={"warmup_steps": 0}), 0, 20) == 0.05


def test_two_runs_are_the_same_and_another_seed_is_not(finished, tmp_path):
    run(tmp_path / "again")
    run(tmp_path / "other", seed=2)
    assert _files(tmp_path / "again") == _files(finished)
    assert _files(tmp_path / "other") != _files(finished)


@pytest.mark.parametrize(
    ("keep", "losses", "best"), [("best", (3.0, 1.0, 2.0, 1.0), 2), ("last", WORSE, 1)]
)
def test_the_best_or_on_demand_the_last_weights_are_kept(tmp_path, keep, losses, best):
    task = Scored(*losses)
    history = run(tmp_path, task, SETTINGS.model_copy(update={"keep": keep}))
    assert (history.best_epoch, history.best_validation_loss) == (best, 1.0)
    assert_now(task, task.seen[best - 1 if keep == "best" else -1])


def test_dropout_is_that_of_the_settings(tmp_path):
    task = TinyTask()
    run(tmp_path, task, SETTINGS.model_copy(update={"dropout": 0.25}))
    assert [m.p for m in task.model if isinstance(m, torch.nn.Dropout)] == [0.25]


def test_without_validation_the_last_weights_stay(tmp_path, caplog):
    history = run(tmp_path, TinyTask(validate=False))
    assert (history.epochs, history.best_epoch, history.best_validation_loss) == (4, None, None)
    assert {row["split"] for row in table(tmp_path / "metrics.tsv")} == {"train"}
    assert "no piece to validate on; the last weights are kept" in caplog.text


def test_a_loss_that_is_no_number_names_the_batch(tmp_path):
    class Broken(TinyTask):
        def collate(self, epoch, members):
            batch = super().collate(epoch, members)
            batch.inputs[[member == 7 for member in members]] = float("nan")
            return batch

    with pytest.raises(DataError, match=r"loss is nan in epoch 1 .*piece 7\b.*learning rate"):
        run(tmp_path, Broken())


def test_a_validation_loss_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(DataError, match="validation loss is inf after epoch 1"):
        run(tmp_path, Scored(float("inf")))


def test_nothing_to_train_and_nothing_to_train_on(tmp_path):
    task = TinyTask()
    freeze(task.model)
    with pytest.raises(ConfigError, match="nothing to train"):
        run(tmp_path / "a", task)
    with pytest.raises(DataError, match="no piece to train on"):
        run(tmp_path / "b", TinyTask(pieces=0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_fp16_needs_a_gpu(tmp_path):
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        run(tmp_path, settings=SETTINGS.model_copy(update={"precision": "fp16"}))


def test_bf16_computes_less_exactly_but_keeps_fp32_weights(finished, tmp_path):
    task = TinyTask()
    run(tmp_path, task, SETTINGS.model_copy(update={"precision": "bf16"}))
    assert {p.dtype for p in task.model.parameters()} == {torch.float32}
    assert _files(tmp_path) != _files(finished)


def test_frozen_parts_compute_as_in_evaluation():
    model = torch.nn.ModuleDict(
        {"a": torch.nn.TransformerEncoderLayer(8, 2), "b": torch.nn.Linear(8, 8)}
    )
    model["drop"] = torch.nn.Dropout()
    freeze(model["a"])
    set_training_mode(model)
    assert not any(module.training for module in model["a"].modules())
    assert model["b"].training
    assert model["drop"].training


def test_global_settings_are_as_before(tmp_path):
    threads, mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    run(tmp_path, settings=SETTINGS.model_copy(update={"threads": threads + 1}))
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == (threads, mode)


def test_rows_may_lack_figures(tmp_path):
    write_metrics(tmp_path / "metrics.tsv", [{"step": 1, "loss": 0.123456789}, {"extra": 2.0}])
    text = (tmp_path / "metrics.tsv").read_text()
    assert text == (
        "step\tepoch\tsplit\tloss\tlearning_rate\textra\n1\t\t\t0.123457\t\t\n\t\t\t\t\t2\n"
    )


# --- going on ---


@pytest.mark.usefixtures("eager_saving")
def test_goes_on_exactly_from_every_step(finished, tmp_path):
    for step in range(20):
        folder = tmp_path / str(step)
        with pytest.raises(KilledError):
            run(folder, FailsAt(step))
        assert not (folder / "model.safetensors").exists()
        again = TinyTask()
        run(folder, again)
        assert again.steps == 20 - step
        assert _files(folder) == _files(finished)


@pytest.mark.usefixtures("eager_saving")
@pytest.mark.parametrize("step", [8, 12, 17])
def test_best_weights_outlive_a_kill(tmp_path, step):
    class Spoiled(FailsAt):
        """Best after the second epoch, step 10."""

        before = 0

        def evaluate(self, device):
            return {"loss": abs(self.before + self.steps - 10.0)}

    whole = run(tmp_path / "whole", Spoiled(99))
    with pytest.raises(KilledError):
        run(tmp_path / "killed", Spoiled(step))
    again = Spoiled(99)
    again.before = step
    assert run(tmp_path / "killed", again) == whole
    assert whole.best_epoch == 2
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")


def test_each_step_has_its_own_dropout_and_every_run_the_same(tmp_path):
    class Watching(TinyTask):
        def loss(self, batch):
            drawn.append(torch.rand(1).item())
            return super().loss(batch)

    draws = []
    for name in ("one", "two"):
        drawn = []
        run(tmp_path / name, Watching())
        draws.append(drawn)
    assert draws[0] == draws[1]
    assert len(set(draws[0])) == 20


def test_goes_on_from_the_last_epoch_without_eager_saving(finished, tmp_path):
    with pytest.raises(KilledError):
        run(tmp_path, FailsAt(13))
    again = TinyTask()
    run(tmp_path, again)
    assert again.steps == 10
    assert _files(tmp_path) == _files(finished)


def test_a_kill_while_saving_the_model_trains_no_step_again(finished, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(tiny_task, "save_file", fail)
        with pytest.raises(KilledError):
            run(tmp_path)
    (tmp_path / "metrics.tsv").unlink()  # as Snakemake does before it tries again
    again = TinyTask()
    run(tmp_path, again)
    assert again.steps == 0
    assert _files(tmp_path) == _files(finished)


@pytest.mark.usefixtures("eager_saving")
@pytest.mark.parametrize("change", ["settings", "inputs", "seed"])
def test_a_state_of_another_training_is_not_used(tmp_path, change):
    with pytest.raises(KilledError):
        run(tmp_path, FailsAt(7))
    settings, inputs, seed = SETTINGS, "a", 1
    if change == "settings":
        settings = SETTINGS.model_copy(update={"weight_decay": 0.02})
    inputs, seed = ("b" if change == "inputs" else "a"), (2 if change == "seed" else 1)
    again = TinyTask(inputs=inputs)
    run(tmp_path, again, settings, seed)
    assert again.steps == 20


def test_rate_and_time_left_are_logged(tmp_path, caplog):
    with caplog.at_level("INFO", "clamp3"):
        run(tmp_path)
    assert "tiny: 161 of 161 parameters learn" in caplog.text
    assert "tiny: epoch 4 of 4, step 20, loss" in caplog.text
    assert re.search(r"pieces/s.*, about 0 min 00 s left", caplog.text)
