"""How well labels follow from embeddings: accuracy, macro-F1, confusion, with standard errors."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.errors import ConfigError, DataError
from clamp3.randomness import generator
from clamp3.retrieval.classification.probes import Probe, class_rows
from clamp3.retrieval.classification.training import Recipe, folds_of, train_probe
from clamp3.retrieval.labels import Labelled

DIGITS = 6
RESAMPLES = 1000  # of the confusion matrix, for the standard error of macro-F1


@dataclass(frozen=True)
class Guesses:
    """What was predicted for pieces whose labels are known, each by a probe that never saw it.

    `folds` [N]: which probe it was; one number for all where there was one.
    """

    ids: list[str]
    labels: list[str]
    predicted: list[str]
    folds: np.ndarray


def confusion(labels: Sequence[str], predicted: Sequence[str], classes: Sequence[str]):
    """How many pieces of each class (rows) were taken for each class (columns) [K, K]."""
    matrix = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(matrix, (class_rows(labels, classes), class_rows(predicted, classes)), 1)
    return matrix


def accuracy(matrix: np.ndarray) -> float:
    """The share of right guesses in a confusion matrix."""
    return float(np.trace(matrix) / matrix.sum())


def macro_f1(matrix: np.ndarray) -> float:
    """The mean over classes of 2 · right / (true + guessed); classes that never occur are left out.

    Source: scikit-learn f1_score(average="macro"), which the originals print
    """
    return float(np.nanmean(_f1(matrix[None]), axis=1)[0])


def _f1(matrices: np.ndarray) -> np.ndarray:
    """F1 of each class [M, K] of confusion matrices [M, K, K]; NaN where it does not occur."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    total = matrices.sum(axis=1) + matrices.sum(axis=2)
    return np.where(total > 0, 2 * right / np.maximum(total, 1), np.nan)


def cross_validate(data: Labelled, recipe: Recipe, folds: int) -> tuple[Labelled, Guesses]:
    """The guess for each piece by a probe trained without its fold, and the rows that took part.

    Labels of fewer than two pieces cannot be both trained on and tested and are left out. Rows of
    one id stay in one fold.

    Raises ConfigError for more folds than pieces, DataError where fewer than two labels are left.
    """
    if folds < 2:
        raise ConfigError(f"{folds} folds: expected 2 or more")
    pairs = set(zip(data.vectors.ids, data.labels, strict=True))
    pieces = Counter(label for _, label in pairs)
    data = data.keep(
        [pieces[label] > 1 for label in data.labels],
        "rare_label",
        "its label {} occurs once; expected two pieces or more",
    )
    classes, ids = sorted(set(data.labels)), data.vectors.ids
    if len(classes) < 2:
        raise DataError(
            f"{len(classes)} label(s) with two pieces or more: expected two or more to tell apart"
        )
    if folds > len(set(ids)):
        raise ConfigError(f"{folds} folds, but {len(set(ids))} labelled pieces")
    fold = folds_of(ids, class_rows(data.labels, classes), folds, recipe.seed)
    predicted = np.empty(len(fold), dtype=object)
    for number in range(folds):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        part = Labelled(data.vectors.take(inside), [data.labels[row] for row in inside])
        probe = train_probe(part, recipe)
        predicted[outside] = probe.predict(data.vectors.embeddings[outside])
    return data, Guesses(ids, data.labels, list(predicted), fold)


def held_out_guesses(probe: Probe, test: Labelled) -> tuple[Labelled, Guesses]:
    """What the probe says of test pieces, and which took part: those whose labels it knows.

    Raises DataError where none is left, or they are of another model.
    """
    probe.check(test.vectors)
    known = set(probe.classes)
    test = test.keep(
        [label in known for label in test.labels],
        "unseen_label",
        "its label {} does not occur in the training data",
    )
    if not test.labels:
        raise DataError(
            "no test piece has a label of the training data, which are "
            f"{', '.join(map(repr, probe.classes))}"
        )
    predicted = probe.predict(test.vectors.embeddings)
    return test, Guesses(test.vectors.ids, test.labels, predicted, np.zeros(len(predicted), int))


def figures(guesses: Guesses, classes: Sequence[str], baseline: str) -> dict:
    """Accuracy and macro-F1 with standard errors, the confusion matrix, each class, and chance.

    Over several folds: the means of the folds' figures, their standard errors (deviation between
    folds / √folds) and beside them the figures of all guesses together. With one: the binomial
    standard error, and for macro-F1 that of resampled guesses. `baseline`: the label that a
    program guesses that looks at nothing, the most frequent one of the training data.
    """
    matrix = confusion(guesses.labels, guesses.predicted, classes)
    parts = [_of_fold(guesses, classes, fold) for fold in np.unique(guesses.folds)]
    values = np.array([[accuracy(part), macro_f1(part)] for part in parts])
    errors = (
        values.std(axis=0, ddof=1) / math.sqrt(len(parts)) if len(parts) > 1 else _sampled(matrix)
    )
    always = confusion(guesses.labels, [baseline] * len(guesses.labels), classes)
    report = {"pieces": len(guesses.labels), "folds": len(parts)}
    for column, name in enumerate(("accuracy", "macro_f1")):
        report[name] = round(float(values[:, column].mean()), DIGITS)
        report[f"{name}_standard_error"] = round(float(errors[column]), DIGITS)
    if len(parts) > 1:
        report["all_guesses"] = _both(matrix)
    report["majority"] = {"label": baseline} | _both(always)
    report["chance_accuracy"] = round(1 / len(classes), DIGITS)
    report["classes"] = list(classes)
    report["confusion"] = matrix.tolist()
    report["per_class"] = _per_class(matrix, classes)
    return report


def most_frequent(labels: Sequence[str]) -> str:
    """The label that occurs most; of equally frequent ones the first by name."""
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def _of_fold(guesses: Guesses, classes: Sequence[str], fold: int) -> np.ndarray:
    rows = np.flatnonzero(guesses.folds == fold)
    return confusion(
        [guesses.labels[row] for row in rows], [guesses.predicted[row] for row in rows], classes
    )


def _sampled(matrix: np.ndarray) -> tuple[float, float]:
    """Standard errors of accuracy and macro-F1 of one test set."""
    count, share = matrix.sum(), accuracy(matrix)
    cells = generator(0, "macro_f1").multinomial(count, matrix.ravel() / count, RESAMPLES)
    values = np.nanmean(_f1(cells.reshape(RESAMPLES, *matrix.shape)), axis=1)
    return math.sqrt(share * (1 - share) / count), float(values.std(ddof=1))


def _both(matrix: np.ndarray) -> dict:
    both = {"accuracy": accuracy(matrix), "macro_f1": macro_f1(matrix)}
    return {name: round(value, DIGITS) for name, value in both.items()}


def _per_class(matrix: np.ndarray, classes: Sequence[str]) -> dict:
    """Precision and recall (None where undefined), F1 and how many there are."""
    right, true, guessed = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        name: {
            "pieces": int(true[row]),
            "precision": round(right[row] / guessed[row], DIGITS) if guessed[row] else None,
            "recall": round(right[row] / true[row], DIGITS) if true[row] else None,
            "f1": round(2 * right[row] / max(1, true[row] + guessed[row]), DIGITS),
        }
        for row, name in enumerate(classes)
    }
