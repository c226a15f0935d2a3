"""Training M3: batches, masking, learning, saving, going on."""

import math
from pathlib import Path

import pytest
import torch
from small_corpus import beside, contents, m3_settings, make_corpus, table
from tiny_task import KilledError, kill_at

from clamp3.errors import DataError
from clamp3.files import write_jsonl
from clamp3.formats.patches import MASK_ID, encode_patches
from clamp3.models.checkpoints import load_m3
from clamp3.models.m3 import M3Model
from clamp3.training import m3 as training_m3
from clamp3.training.m3 import M3Task, train_m3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    train, validation = make_corpus(folder), make_corpus(folder, 5, "validation")
    return {
        "manifests": [train["abc"], train["mtf"]],
        "validation": [validation["abc"], validation["mtf"]],
    }


def _train(folder, corpus, settings=None, seed=1):
    folder = Path(folder)
    train_m3(
        **corpus,
        settings=settings or m3_settings(),
        seed=seed,
        **beside(folder / "m3"),
    )
    return contents(folder / "m3")


def _task(corpus, seed=1):
    settings = m3_settings()
    torch.manual_seed(0)
    paths = training_m3._files(corpus["manifests"])
    return M3Task(M3Model(settings.architecture), settings, paths, seed)


def test_every_score_and_performance_is_dealt_once(corpus):
    task = _task(corpus)
    assert len(task.paths) == 36
    dealt = task.deal(0)
    assert sorted(member for batch in dealt for member in batch) == list(range(36))
    assert dealt == task.deal(0)
    assert dealt != task.deal(1)


def test_a_sample_depends_on_seed_epoch_and_file_alone(corpus):
    task = _task(corpus)
    alone, together = task.collate(3, [7]), task.collate(3, [30, 7, 2])
    count = int(alone.mask.sum())
    assert torch.equal(alone.targets[0], together.targets[1, :count])
    assert torch.equal(alone.inputs[0], together.inputs[1, :count])
    assert torch.equal(alone.selected[0], together.selected[1, :count])
    others = [task.collate(4, [7]), _task(corpus, seed=2).collate(3, [7])]
    assert any(not torch.equal(alone.selected, other.selected) for other in others)


def test_a_batch_is_cropped_masked_and_padded_to_its_longest(corpus):
    task = _task(corpus)
    batch = task.collate(0, [0, 1, 34, 35])
    assert batch.ids == [task.paths[member] for member in (0, 1, 34, 35)]
    assert batch.targets.shape[1] == batch.mask.sum(1).max() <= 8
    assert not batch.targets[batch.mask == 0].any()
    assert not batch.selected[batch.mask == 0].any()
    lengths = batch.mask.sum(1)
    assert batch.selected.sum(1).tolist() == [math.ceil(0.45 * n) for n in lengths.tolist()]
    starts = {bytes(task.collate(epoch, [35]).targets[0, 0].numpy()) for epoch in range(12)}
    assert len(starts) > 1  # head, tail and middle
    whole = encode_patches(Path(task.paths[35]).read_text())
    assert starts <= {bytes(patch) for patch in whole}


def test_validation_masks_the_same_each_time_and_hides_what_it_asks_for(corpus):
    task = _task(corpus)
    task.validate_on(training_m3._files(corpus["validation"]))
    task.model.eval()
    first, again = task.evaluate("cpu"), task.evaluate("cpu")
    assert first == again
    batch = task._batch(task.heard, task.validation, None)
    assert (batch.inputs[batch.selected] == MASK_ID).all()
    # The loss of all characters at once, whatever the batches were.
    assert first["loss"] == pytest.approx(task.loss(batch).item(), rel=0.2)


@pytest.mark.slow
def test_learns_writes_and_is_the_same_again(corpus, tmp_path):
    settings = m3_settings(epochs=6, learning_rate=5.0e-3)
    first = _train(tmp_path / "a", corpus, settings)
    assert first == _train(tmp_path / "b", corpus, settings)
    rows = table(tmp_path / "a" / "m3.tsv")
    losses = {
        split: [float(r["loss"]) for r in rows if r["split"] == split]
        for split in ("train", "validation")
    }
    assert losses["train"][-1] < 0.7 * losses["train"][0]
    assert min(losses["validation"]) < 0.7 * losses["validation"][0]
    model = load_m3(tmp_path / "a" / "m3")
    task = _task(corpus)
    task.model = model
    task.validate_on(training_m3._files(corpus["validation"]))
    assert task.evaluate("cpu")["loss"] == pytest.approx(min(losses["validation"]), rel=1e-5)


def test_inputs_tell_trainings_apart(corpus, tmp_path):
    task = _task(corpus)
    before = task.inputs
    task.validate_on(training_m3._files(corpus["validation"]))
    assert task.inputs != before
    shorter = {"manifests": corpus["manifests"][:1]}
    assert _task(shorter).inputs != before
    assert _task(corpus).inputs == before


def test_a_file_that_is_no_music_is_named(tmp_path):
    (tmp_path / "a.abc").write_text("|")
    write_jsonl(tmp_path / "m.jsonl", [{"id": "a", "filepaths": [str(tmp_path / "a.abc")]}])
    with pytest.raises(DataError, match=r"a\.abc: .*bar line"):
        _train(tmp_path, {"manifests": [tmp_path / "m.jsonl"]})


def test_manifests_without_symbolic_music_are_refused(tmp_path):
    write_jsonl(tmp_path / "m.jsonl", [{"id": "a", "filepaths": ["a.npy"]}])
    with pytest.raises(DataError, match=r"m\.jsonl: no \.abc or \.mtf file"):
        _train(tmp_path, {"manifests": [tmp_path / "m.jsonl"]})


@pytest.mark.slow
@pytest.mark.usefixtures("eager_saving")
def test_killed_again_and_again_it_ends_with_the_same_bytes(corpus, tmp_path, monkeypatch):
    settings = m3_settings(epochs=4)
    whole = _train(tmp_path / "whole", corpus, settings)
    folder = tmp_path / "killed"
    kill_at(monkeypatch, M3Task, 1, 2, 5, 13, 18)
    for _ in range(5):
        with pytest.raises(KilledError):
            _train(folder, corpus, settings)
        assert (folder / "m3.resume").exists()
    assert _train(folder, corpus, settings) == whole
    assert (folder / "m3.tsv").read_bytes() == (tmp_path / "whole" / "m3.tsv").read_bytes()
