"""The loop under a guard: what is measured when, and which weights stay."""

import pytest
from small_corpus import table
from tiny_task import (
    SETTINGS,
    WORSE,
    FailsAt,
    KilledError,
    Scored,
    TinyTask,
    assert_now,
    run,
    weights_of,
)

from clamp3.training.watch import Guard

FIGURES = [0.5, 0.5, 0.48, 0.3, 0.6]  # before training, and after each epoch


def guarded(task, figures=FIGURES, *, stops, max_fall=0.1):
    """The task with a guard that finds these figures one after the other; its weights by then."""
    task.seen = []

    def measure(device):
        task.seen.append(weights_of(task))
        figure = figures[min(task.steps // 5, 4)]
        return {"loss": 1 - figure, "figure": figure}

    task.guard = Guard(measure, "figure", max_fall, stops)
    return task


def guard_rows(folder):
    return [row for row in table(folder / "metrics.tsv") if row["split"] == "guard"]


def test_a_fall_is_a_share_of_what_there_was():
    guard = Guard(lambda _: {}, "figure", 0.3, stops=True)
    for figure, fall, passed in ((0.5, -0.25, 1), (0.4, 0, 1), (0.3, 0.25, 1), (0.2, 0.5, 0)):
        judged = guard.judged({"figure": figure}, 0.4)
        assert judged == {"figure": figure, "fall": pytest.approx(fall), "passed": passed}


@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_what_did_not_pass_is_not_kept(tmp_path, keep, validate):
    settings = SETTINGS.model_copy(update={"keep": keep})
    task = guarded(TinyTask(validate=validate), stops=True)
    history = run(tmp_path, task, settings)
    rows = guard_rows(tmp_path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["passed"] for row in rows] == ["1", "1", "1", "0"]
    assert (history.epochs, history.stopped_by) == (3, "guard")
    assert history.kept_epoch == (history.best_epoch if keep == "best" and validate else 2)
    assert_now(task, task.seen[history.kept_epoch])


def test_where_nothing_passes_the_start_is_kept(tmp_path, caplog):
    task = guarded(TinyTask(), [0.5, 0.1], stops=True)
    history = run(tmp_path, task)
    assert (history.epochs, history.kept_epoch, history.best_epoch) == (1, 0, None)
    assert "no piece to validate on" not in caplog.text
    assert_now(task, weights_of(TinyTask()))


def test_a_warning_changes_no_weights(tmp_path, caplog):
    history = run(tmp_path / "a", guarded(TinyTask(), stops=False))
    plain = run(tmp_path / "b")
    assert (history.epochs, history.stopped_by) == (4, None)
    assert history.kept_epoch == plain.kept_epoch == plain.best_epoch
    files = [tmp_path / name / "model.safetensors" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "after epoch 3 the guard's figure is 0.3, 40.0% less than the 0.5" in caplog.text
    assert [row["passed"] for row in guard_rows(tmp_path / "a")] == ["1", "1", "1", "0", "1"]


@pytest.mark.parametrize("step", [0, 3, 5, 12])
def test_killed_under_a_guard_it_goes_on(tmp_path, step):
    last = SETTINGS.model_copy(update={"keep": "last"})
    whole = guarded(TinyTask(), stops=True)
    history = run(tmp_path / "whole", whole, last)
    killed = guarded(FailsAt(step), stops=True)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", killed, last)
    again = guarded(TinyTask(), stops=True)
    again.steps = step // 5 * 5  # an epoch's end is what was saved
    assert run(tmp_path / "killed", again, last) == history
    for name in ("model.safetensors", "metrics.tsv"):
        files = [tmp_path / folder / name for folder in ("whole", "killed")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_patience_and_the_end_are_told_apart(tmp_path):
    for patience, expected in ((2, (3, 1, "patience")), (3, (4, 1, None)), (None, (4, 1, None))):
        settings = SETTINGS.model_copy(update={"patience_epochs": patience})
        found = run(tmp_path / str(patience), Scored(*WORSE), settings)
        assert (found.epochs, found.kept_epoch, found.stopped_by) == expected
        assert found.best_epoch == 1
