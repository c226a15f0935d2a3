"""Two-dimensional maps of the embedding space, by principal components."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.randomness import stable_hash

OTHER = "other"


@dataclass(frozen=True)
class SpaceMap:
    """Points [N, 2] and the share of the variance that each of the two axes shows."""

    points: np.ndarray
    shown: tuple[float, float]


def principal_map(embeddings: np.ndarray) -> SpaceMap:
    """The embeddings [N, D], scaled to length 1, on their first two principal axes.

    The sign of an axis is fixed: its largest weight is positive. Axes without variance are 0.
    """
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.where(lengths == 0, 1, lengths)
    centred = unit - unit.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    points, shares = np.zeros((len(unit), 2)), [0.0, 0.0]
    for number, axis in enumerate(axes[:2]):
        sign = np.sign(axis[np.argmax(np.abs(axis))]) or 1.0
        points[:, number] = sign * (centred @ axis)
        shares[number] = float(sizes[number] ** 2 / max(np.sum(sizes**2), np.finfo(float).tiny))
    return SpaceMap(points, (shares[0], shares[1]))


def without_group_means(embeddings: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Unit vectors [N, D] less the mean of their group.

    What is left is how pieces differ inside a modality; without this the distance between the
    modalities fills the first axis.
    """
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit = embeddings / np.where(lengths == 0, 1, lengths)
    names = np.asarray(groups)
    for name in np.unique(names):
        unit[names == name] -= unit[names == name].mean(axis=0)
    return unit


def sample_rows(ids: Sequence[str], count: int) -> list[int]:
    """At most `count` rows, ascending, chosen by the hash of their ids.

    The same pieces are chosen whatever the order of the rows and whichever table they stand in.
    """
    order = sorted(range(len(ids)), key=lambda row: (stable_hash(ids[row], "map"), row))
    return sorted(order[:count])


def common_labels(labels: Sequence[str | None], count: int) -> list[str]:
    """The labels, with all but the `count` most frequent replaced by `OTHER`."""
    found = Counter(label for label in labels if label)
    ranked = sorted(found, key=lambda label: (-found[label], label))
    kept = set(ranked[:count])
    return [label if label in kept else OTHER for label in labels]


def telling_labels(choices: Sequence[Sequence[str | None]], most: float = 0.6) -> list[str | None]:
    """Of several ways to label the pieces the first that tells them apart.

    That is: no label stands on more than the share `most` of the pieces, and half of them have
    one. Where there is none the last.
    """
    for labels in choices:
        counts = Counter(label for label in labels if label)
        enough = sum(counts.values()) >= len(labels) / 2
        if counts and enough and max(counts.values()) <= most * len(labels):
            return list(labels)
    return list(choices[-1])
