"""Training linear probes: logistic regression, or the originals' recipe."""

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from clamp3.errors import ConfigError, DataError
from clamp3.randomness import generator
from clamp3.retrieval.classification.probes import Probe, class_rows, standardisation
from clamp3.retrieval.labels import Labelled

log = logging.getLogger(__name__)
GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strengths of L2, weakest last
INNER_FOLDS = 3
FALLBACK = 1e-2  # where a class is too small for inner folds
SOLVER_STEPS = 10000
HELD_OUT = 0.2  # of the originals' training data, by which the best epoch is chosen


@dataclass(frozen=True)
class Recipe:
    """How a probe is trained.

    `name`: logistic (scikit-learn's solver on standardised features) or original (AdamW, one piece
    a step, features as they are). `inverse_l2`: scikit-learn's C, None chooses it by
    cross-validation inside the training data; `balanced`: every class counts alike. `epochs` (at
    most), `learning_rate` and `softmax_twice` belong to the originals' recipe.

    Source: sanderwood/clamp3@9016d2b classification/train_cls.py, config.py
    """

    name: str = "logistic"
    inverse_l2: float | None = None
    balanced: bool = False
    softmax_twice: bool = False
    epochs: int = 1000
    learning_rate: float = 1e-5
    seed: int = 0

    def __post_init__(self):
        if self.name not in ("logistic", "original"):
            raise ConfigError(f"recipe {self.name!r}: expected logistic or original")
        if self.softmax_twice and self.name != "original":
            raise ConfigError("softmax twice is a trait of the original recipe (--recipe original)")
        if self.inverse_l2 is not None and not self.inverse_l2 > 0:
            raise ConfigError(f"inverse strength of L2 {self.inverse_l2}: expected more than 0")


def train_probe(data: Labelled, recipe: Recipe) -> Probe:
    """The probe trained on all rows of the data. The same data gives the same probe.

    Raises DataError where there are fewer than two classes.
    """
    classes = sorted(set(data.labels))
    if len(classes) < 2:
        raise DataError(
            f"only one label, {classes[0]!r}: expected two or more to tell apart"
            if classes
            else "no labelled embeddings to train on"
        )
    rows = class_rows(data.labels, classes)
    train = _train_logistic if recipe.name == "logistic" else _train_original
    arrays, found = train(data.vectors.embeddings, rows, data.vectors.ids, recipe)
    origin = data.vectors.origin
    notes = asdict(recipe) | found | {"pieces": len(rows)}
    return Probe(classes, *arrays, origin.space, origin.fingerprint, notes)


def folds_of(ids: Sequence[str], rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold [N] of each embedding: classes are spread evenly, rows of one id stay together."""
    first = {name: row for row, name in reversed(list(enumerate(ids)))}
    fold, dealt = {}, 0
    for label in range(int(rows.max()) + 1):
        names = sorted(name for name, row in first.items() if rows[row] == label)
        for place in generator(seed, "folds", label).permutation(len(names)):
            fold[names[place]] = dealt % count
            dealt += 1
    return np.array([fold[name] for name in ids], dtype=int)


def piece_loss(logits, row, *, softmax_twice: bool):
    """Cross-entropy of logits [B, K] with the rows of the right classes [B] (torch tensors).

    Source: sanderwood/clamp3@9016d2b classification/train_cls.py
    Differs: the softmax is applied once unless `softmax_twice` asks for what the originals do,
    because there the loss cannot fall below log(1 + (K - 1) / e) and gradients shrink.
    """
    import torch

    if softmax_twice:
        logits = torch.softmax(logits, dim=-1)
    return torch.nn.functional.cross_entropy(logits, row)


def _train_logistic(
    embeddings: np.ndarray, rows: np.ndarray, ids: Sequence[str], recipe: Recipe
) -> tuple[tuple[np.ndarray, ...], dict]:
    chosen, losses = recipe.inverse_l2, {}
    if chosen is None:
        chosen, losses = _choose(embeddings, rows, ids, recipe)
    arrays = _solve(embeddings, rows, chosen, recipe.balanced)
    return arrays, {"inverse_l2": chosen, "inner_losses": losses}


def _solve(
    embeddings: np.ndarray, rows: np.ndarray, inverse_l2: float, balanced: bool
) -> tuple[np.ndarray, ...]:
    """Weight, bias, mean and scale of a logistic regression with L2 on the weights."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, scale = standardisation(embeddings)
    solver = LogisticRegression(
        C=inverse_l2, class_weight="balanced" if balanced else None, tol=1e-6, max_iter=SOLVER_STEPS
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told below, as a line of the log
        solver.fit((embeddings - mean) / scale, rows)
    if solver.n_iter_.max() >= SOLVER_STEPS:
        log.warning("no solution after %d steps; the last is taken", SOLVER_STEPS)
    weight, bias = solver.coef_, solver.intercept_
    if len(weight) == 1:  # two classes share one vector there: half of it each is the same model
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias, mean, scale


def _choose(
    embeddings: np.ndarray, rows: np.ndarray, ids: Sequence[str], recipe: Recipe
) -> tuple[float, dict[str, float]]:
    """The inverse strength of L2 with the lowest cross-entropy on inner folds, and all of them."""
    folds = folds_of(ids, rows, INNER_FOLDS, recipe.seed)
    present = [np.unique(rows[folds != fold]) for fold in range(INNER_FOLDS)]
    if np.bincount(rows).min() < 2 or any(len(p) <= rows.max() for p in present):
        return FALLBACK, {}
    weights = _row_weights(rows, recipe.balanced)
    losses = {}
    for strength in GRID:
        total = 0.0
        for fold in range(INNER_FOLDS):
            inside, outside = folds != fold, folds == fold
            found = _solve(embeddings[inside], rows[inside], strength, recipe.balanced)
            chance = Probe([], *found).probabilities(embeddings[outside])
            right = chance[np.arange(outside.sum()), rows[outside]]
            total -= float(np.log(np.maximum(right, 1e-300)) @ weights[outside])
        losses[f"{strength:g}"] = round(total / weights.sum(), 6)
    return float(min(losses, key=losses.get)), losses


def _row_weights(rows: np.ndarray, balanced: bool) -> np.ndarray:
    counts = np.bincount(rows)
    return len(rows) / (len(counts) * counts[rows]) if balanced else np.ones(len(rows))


def _train_original(
    embeddings: np.ndarray, rows: np.ndarray, ids: Sequence[str], recipe: Recipe
) -> tuple[tuple[np.ndarray, ...], dict]:
    """AdamW on one piece a step; the epoch that is best on a fifth held out is kept.

    Differs: `balanced` repeats pieces of small classes, where the originals stop with an error; of
    equally good epochs the first is kept, as there, and there is one even where none is right.
    """
    import torch

    width, classes = embeddings.shape[1], int(rows.max()) + 1
    held_out = folds_of(ids, rows, round(1 / HELD_OUT), recipe.seed) == 0
    if held_out.all() or not held_out.any():
        raise DataError(f"{len(set(ids))} pieces: too few to hold some out for choosing the epoch")
    inputs = torch.from_numpy(np.asarray(embeddings, np.float32))
    targets = torch.from_numpy(rows)
    bound = 1 / math.sqrt(width)
    draw = torch.Generator().manual_seed(recipe.seed)
    weight = ((torch.rand(classes, width, generator=draw) * 2 - 1) * bound).requires_grad_()
    bias = ((torch.rand(classes, generator=draw) * 2 - 1) * bound).requires_grad_()
    optimizer = torch.optim.AdamW([weight, bias], lr=recipe.learning_rate, foreach=True)
    best, best_epoch, kept = -1.0, 0, ()
    for epoch in range(1, recipe.epochs + 1):
        for row in _order(rows, np.flatnonzero(~held_out), recipe, epoch):
            logits = inputs[row : row + 1] @ weight.T + bias
            loss = piece_loss(logits, targets[row : row + 1], softmax_twice=recipe.softmax_twice)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            guesses = (inputs[held_out] @ weight.T + bias).argmax(dim=1)
        accuracy = float((guesses == targets[held_out]).double().mean())
        if accuracy > best:
            best, best_epoch = accuracy, epoch
            kept = tuple(v.detach().double().numpy().copy() for v in (weight, bias))
    notes = {"best_epoch": best_epoch, "held_out_accuracy": round(best, 6)}
    return (*kept, np.zeros(width), np.ones(width)), notes


def _order(rows: np.ndarray, inside: np.ndarray, recipe: Recipe, epoch: int) -> list[int]:
    """The rows of one epoch in a fresh order; balanced, each class as often as the largest."""
    if recipe.balanced:
        most = np.bincount(rows[inside]).max()
        own = [inside[rows[inside] == label] for label in range(int(rows.max()) + 1)]
        inside = np.concatenate([np.resize(part, most) for part in own if len(part)])
    return generator(recipe.seed, "epoch", epoch).permutation(inside).tolist()
