"""Probes and labels without training: against plain oracles and what the originals recorded."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from retrieval.commands import run
from sklearn.metrics import f1_score

from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.retrieval.classification.probes import Probe, load_probe, save_probe, standardisation
from clamp3.retrieval.classification.scoring import (
    Guesses,
    accuracy,
    confusion,
    cross_validate,
    figures,
    held_out_guesses,
    macro_f1,
)
from clamp3.retrieval.classification.training import Recipe, folds_of, piece_loss, train_probe
from clamp3.retrieval.labels import Labelled, label_of_name, read_labels, with_labels
from clamp3.retrieval.vectors import Origin, Vectors, read_vectors, write_vectors

FIXED = Recipe(inverse_l2=0.5)


def data(per_class: int = 12, classes: int = 3, width: int = 5, spread: float = 1.0) -> Labelled:
    rng = np.random.default_rng(7)
    centres = 2 * rng.standard_normal((classes, width))
    labels = [f"c{number % classes}" for number in range(per_class * classes)]
    rows = [centres[int(label[1:])] + spread * rng.standard_normal(width) for label in labels]
    ids = [f"{label}_{number}" for number, label in enumerate(labels)]
    origin = Origin("f" * 64, "s" * 64, "abc", "")
    return Labelled(Vectors(ids, np.array(rows, np.float32) + 3, origin), labels)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_vectors(tmp_path / "features.parquet", data().vectors)
    return tmp_path / "features.parquet"


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_gradient_vanishes_at_the_solution(classes: int, balanced: bool):
    """The objective is the weighted cross-entropy · C + |W|² / 2; two classes share one vector."""
    given = data(classes=classes)
    given = given.keep([n % 5 != 1 or n > 20 for n in range(len(given.labels))], "", "")
    probe = train_probe(given, Recipe(inverse_l2=0.5, balanced=balanced))
    mean, scale = standardisation(given.vectors.embeddings)
    inputs = (given.vectors.embeddings - mean) / scale
    rows = np.array([int(label[1:]) for label in given.labels])
    counts = np.bincount(rows)
    weights = len(rows) / (classes * counts[rows]) if balanced else np.ones(len(rows))
    wrong = probe.probabilities(given.vectors.embeddings) - np.eye(classes)[rows]
    wrong *= weights[:, None]
    penalty = probe.weight / 0.5 * (2 if classes == 2 else 1)
    np.testing.assert_allclose(wrong.T @ inputs + penalty, 0, atol=2e-3)
    np.testing.assert_allclose(wrong.sum(axis=0), 0, atol=2e-3)


def test_the_strength_of_the_penalty_is_chosen_by_held_out_loss():
    given = data(per_class=8, width=40, spread=20.0)
    noise = train_probe(given, Recipe()).recipe
    rows = np.array([int(label[1:]) for label in given.labels])
    folds = folds_of(given.vectors.ids, rows, 3, seed=0)
    loss = 0.0
    for row, fold in enumerate(folds):
        inside = given.keep([bool(other != fold) for other in folds], "", "")
        probe = train_probe(inside, Recipe(inverse_l2=0.1))
        loss -= math.log(probe.probabilities(given.vectors.embeddings[[row]])[0, rows[row]]) / 24
    assert noise["inner_losses"]["0.1"] == pytest.approx(loss, abs=1e-5)
    clear = train_probe(data(per_class=8, spread=0.1), Recipe()).recipe
    assert noise["inverse_l2"] < clear["inverse_l2"]
    assert clear["inner_losses"][f"{clear['inverse_l2']:g}"] == min(clear["inner_losses"].values())


def test_figures_by_hand():
    matrix = confusion(list("aaab"), list("aabb"), ["a", "b", "c"])
    assert matrix.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert accuracy(matrix) == 0.75
    assert macro_f1(matrix) == pytest.approx((4 / 5 + 2 / 3) / 2)  # c never occurs
    assert macro_f1(confusion(["a"], ["b"], ["a", "b"])) == 0


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        true, guessed = (rng.choice(list("abcde"), 9).tolist() for _ in range(2))
        expected = f1_score(true, guessed, average="macro")
        assert macro_f1(confusion(true, guessed, list("abcde"))) == pytest.approx(expected)


def test_standard_errors_by_hand():
    guesses = Guesses(list("123456"), list("ababab"), list("abaaaa"), np.array([0, 0, 1, 1, 2, 2]))
    report = figures(guesses, ["a", "b"], "a")
    assert report["accuracy"] == pytest.approx((1 + 0.5 + 0.5) / 3, abs=1e-6)
    error = np.std([1, 0.5, 0.5], ddof=1) / math.sqrt(3)
    assert report["accuracy_standard_error"] == pytest.approx(error, abs=1e-6)
    assert report["majority"] == {"label": "a", "accuracy": 0.5, "macro_f1": 0.333333}
    assert report["per_class"]["b"] == {
        "pieces": 3, "precision": 1.0, "recall": 0.333333, "f1": 0.5
    }  # fmt: skip
    one = figures(Guesses(guesses.ids, guesses.labels, guesses.predicted, np.zeros(6)), ["a", "b"], "a")  # fmt: skip # noqa: E501
    assert one["accuracy_standard_error"] == pytest.approx(math.sqrt(2 / 3 / 3 / 6), abs=1e-6)
    assert 0.1 < one["macro_f1_standard_error"] < 0.35


def test_folds_are_even_and_keep_rows_of_one_id_together():
    ids = [f"p{n // 2}" for n in range(60)]
    rows = np.array([(n // 2) % 3 for n in range(60)])
    folds = folds_of(ids, rows, 5, seed=1)
    assert (folds[::2] == folds[1::2]).all()
    for label in range(3):
        assert np.bincount(folds[rows == label]).tolist() == [4] * 5
    back = folds_of(ids[::-1], rows[::-1], 5, seed=1)
    assert (back[::-1] == folds).all()


def test_every_guess_is_of_a_probe_that_did_not_see_the_piece():
    """Labels that say nothing: a probe that had seen the pieces would know them by heart."""
    rng = np.random.default_rng(1)
    vectors = Vectors([str(n) for n in range(60)], rng.standard_normal((60, 80)), Origin(*" " * 4))
    given = Labelled(vectors, ["ab"[n % 2] for n in range(60)])
    assert train_probe(given, Recipe(inverse_l2=10)).predict(vectors.embeddings) == given.labels
    _, guesses = cross_validate(given, Recipe(inverse_l2=10), 5)
    right = sum(a == b for a, b in zip(guesses.labels, guesses.predicted, strict=True))
    assert right < 42


@pytest.mark.parametrize("name", ["logistic", "original"])
def test_training_is_repeatable(name: str):
    recipe = Recipe(name, epochs=2, learning_rate=0.01)
    first, second = (train_probe(data(), recipe) for _ in range(2))
    assert first.recipe == second.recipe
    assert (first.weight == second.weight).all()
    assert (first.bias == second.bias).all()


def test_balanced_original_learns_a_rare_label():
    given = data(per_class=20, classes=2, spread=0.3)
    given = given.keep([n % 2 == 0 or n < 12 for n in range(40)], "", "")
    probe = train_probe(given, Recipe("original", balanced=True, epochs=30, learning_rate=0.01))
    assert probe.predict(given.vectors.embeddings) == given.labels


def test_goldens_of_the_originals(goldens: Path, tmp_path: Path):
    recorded = json.loads((goldens / "models/classification.json").read_text(encoding="utf-8"))
    arrays = np.load(goldens / "models/classification.npz")
    names = {f"fc.{part}": torch.from_numpy(arrays[f"best_fc.{part}"]) for part in ("weight", "bias")}  # fmt: skip # noqa: E501
    file = tmp_path / "weights_cls.pth"
    torch.save({"model": names, "labels": recorded["checkpoint_keys"]["labels"], "epoch": 1}, file)
    probe = load_probe(file)
    ids = [key.removesuffix(".npy").replace("/", "|") for key in recorded["inference"]]
    matrix = np.concatenate([arrays[key] for key in ids])
    assert probe.predict(matrix) == list(recorded["inference"].values())
    test = with_labels(Vectors([key.split("|")[1] for key in ids], matrix, Origin(*[""] * 4)), None)
    _, guesses = held_out_guesses(probe, test)
    report = figures(guesses, probe.classes, "folk")
    assert report["accuracy"] == recorded["inference_accuracy"]
    assert report["macro_f1"] == pytest.approx(0.7919191919191918, abs=1e-6)


def test_loss_and_gradient_of_the_originals(goldens: Path):
    recorded = json.loads((goldens / "models/classification.json").read_text(encoding="utf-8"))
    arrays = np.load(goldens / "models/classification.npz")
    sample = recorded["one_sample_train|rock_00_label_1"]
    inputs = torch.from_numpy(arrays["train|rock_00"])
    for twice, loss_name, gradient in (
        (True, "upstream_loss_softmax_then_CE", "one/grad_upstream_weight"),
        (False, "plain_ce", "one/grad_plain_ce_weight"),
    ):
        weight = torch.from_numpy(arrays["one/fc.weight"]).requires_grad_()
        logits = inputs @ weight.T + torch.from_numpy(arrays["one/fc.bias"])
        loss = piece_loss(logits, torch.tensor([1]), softmax_twice=twice)
        loss.backward()
        assert loss.item() == pytest.approx(sample[loss_name], abs=1e-5)
        np.testing.assert_allclose(weight.grad, arrays[gradient], atol=1e-5)
    np.testing.assert_allclose(
        Probe(["a", "b", "c"], arrays["one/fc.weight"], arrays["one/fc.bias"], np.zeros(16),
              np.ones(16)).probabilities(inputs.numpy())[0], sample["probs"], atol=1e-6,
    )  # fmt: skip


def test_labels_of_names():
    assert label_of_name("a_b/jazz_07.npy") == "jazz"
    assert label_of_name("jazz.npy") is None
    assert label_of_name("_07.npy") is None


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_labels_of_tables(tmp_path: Path, ending: str):
    path = tmp_path / f"labels.{ending}"
    rows = [("Op. 12", "a"), ("x/7.mid", "NA"), ("9", "")]
    parted = {"csv": ",", "tsv": "\t"}.get(ending)
    lines = ["file,genre".replace(",", parted), *map(parted.join, rows)] if parted else [
        json.dumps({"file": name, "genre": label}) for name, label in rows
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_labels(path, "genre") == {"Op. 12": "a", "x/7.mid": "NA"}
    vectors = Vectors(["Op. 12", "Op. 13", "x/7.mtf", "9"], np.ones((4, 2)), Origin(*[""] * 4))
    found = with_labels(vectors, path, "genre")
    assert (found.vectors.ids, found.labels) == (["Op. 12", "x/7.mtf"], ["a", "NA"])
    assert [row[:2] for row in found.refused] == [("Op. 13", "no_label"), ("9", "no_label")]
    with pytest.raises(DataError, match="expected one of id, file, path, and label"):
        read_labels(path)


def test_an_id_with_two_labels_is_refused(tmp_path: Path):
    (tmp_path / "l.csv").write_text("id,label\na,x\na,x\na,y\n")
    with pytest.raises(DataError, match="a has two labels, 'x' and 'y'"):
        read_labels(tmp_path / "l.csv")


def test_a_saved_probe_is_the_same(tmp_path: Path):
    probe = train_probe(data(), FIXED)
    save_probe(tmp_path / "probe", probe)
    again = load_probe(tmp_path / "probe")
    embeddings = data().vectors.embeddings
    assert (again.logits(embeddings) == probe.logits(embeddings)).all()
    assert (again.classes, again.space, again.recipe) == (probe.classes, probe.space, probe.recipe)
    (tmp_path / "probe/probe.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="damaged probe"):
        load_probe(tmp_path / "probe")
    with pytest.raises(CheckpointError, match=r"no probe\.json"):
        load_probe(tmp_path)


def test_other_models_and_unusable_labels_are_refused():
    given = data()
    probe = train_probe(given, FIXED)
    other = Vectors(given.vectors.ids, given.vectors.embeddings, Origin("g", "other", "abc", ""))
    with pytest.raises(DataError, match="trained on embeddings of model ssss"):
        probe.check(other)
    narrow = Vectors(["a"], np.ones((1, 3)), Origin("", "", "", ""))
    with pytest.raises(DataError, match="5 wide, these are 3"):
        probe.check(narrow)
    unseen = Labelled(given.vectors, ["new", *given.labels[1:]])
    kept, _ = held_out_guesses(probe, unseen)
    assert kept.refused == [
        ("c0_0", "unseen_label", "its label 'new' does not occur in the training data")
    ]
    kept, _ = cross_validate(unseen, FIXED, 3)
    assert [row[1] for row in kept.refused] == ["rare_label"]
    with pytest.raises(DataError, match="only one label, 'a'"):
        train_probe(Labelled(given.vectors, ["a"] * 36), FIXED)
    with pytest.raises(ConfigError, match="37 folds, but 36 labelled pieces"):
        cross_validate(given, FIXED, 37)


def test_commands_train_and_predict(table: Path, tmp_path: Path):
    out = tmp_path / "probe"
    status, printed, told = run("classify", "train", table, "--out", out)
    assert status == 0, told
    assert "36 pieces, 3 labels, 5 folds" in printed
    assert "36 in, 0 rejected" in told
    report = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert np.sum(report["confusion"]) == 36
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run("classify", "train", table, "--out", out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    status, printed, _ = run("classify", "predict", table, "--probe", out)
    head, first = (line.split("\t") for line in printed.splitlines()[:2])
    assert head == ["id", "label", "p_c0", "p_c1", "p_c2"]
    assert sum(map(float, first[2:])) == pytest.approx(1, abs=1e-5)
    run("classify", "predict", table, "--probe", out, "--out", tmp_path / "p.tsv")
    assert (tmp_path / "p.tsv").read_text() == printed


def test_commands_tell_of_bad_features(
    table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    vectors = read_vectors(table)
    bad = Vectors(vectors.ids, vectors.embeddings * np.nan, vectors.origin)
    write_vectors(tmp_path / "nan.parquet", bad)
    status, _, told = run("classify", "train", tmp_path / "nan.parquet", "--out", tmp_path / "o")
    assert (status, "NaN or infinity" in told) == (1, True)
    folder = tmp_path / "npy"
    folder.mkdir()
    for name, row in zip(vectors.ids, vectors.embeddings, strict=True):
        np.save(folder / f"{name}.npy", row[None])
    np.save(folder / "c0_bad.npy", np.full((1, 5), np.nan))
    status, _, told = run("classify", "train", folder, "--out", tmp_path / "o", "--test", table)
    assert (status, "73 in, 1 rejected (1 bad_file" in told) == (0, True)
    assert "36 of 36 test pieces are in the training data as well" in caplog.text


def test_damaged_original_probe(tmp_path: Path):
    (tmp_path / "a.pth").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"not readable as a \.pth"):
        load_probe(tmp_path / "a.pth")
    torch.save({"model": {}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="no probe of the originals"):
        load_probe(tmp_path / "b.pth")
