"""Two-dimensional maps of the embedding space, by principal components or by neighbours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clamp3.randomness import stable_hash
from clamp3.retrieval.vectors import unit_rows

OTHER = "other"
PERPLEXITY = 30  # about how many neighbours of a point count, as published
START_SPREAD = 1e-4  # of the first layout, as published
EXACT_ROWS = 2000  # beyond, the forces of far points are approximated


@dataclass(frozen=True)
class SpaceMap:
    """Points [N, 2] and the share of the variance that each of the two axes shows."""

    points: np.ndarray
    shown: tuple[float, float]


def principal_map(embeddings: np.ndarray) -> SpaceMap:
    """The embeddings [N, D], scaled to length 1, on their first two principal axes.

    The sign of an axis is fixed: its largest weight is positive. Axes without variance are 0.
    """
    unit = unit_rows(embeddings)
    centred = unit - unit.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    points, shares = np.zeros((len(unit), 2)), [0.0, 0.0]
    for number, axis in enumerate(axes[:2]):
        sign = np.sign(axis[np.argmax(np.abs(axis))]) or 1.0
        points[:, number] = sign * (centred @ axis)
        shares[number] = float(sizes[number] ** 2 / max(np.sum(sizes**2), np.finfo(float).tiny))
    return SpaceMap(points, (shares[0], shares[1]))


def neighbour_map(embeddings: np.ndarray) -> np.ndarray:
    """Points [N, 2] by t-SNE: what is near in the space is near on the map.

    Distances between groups and sizes of groups mean nothing. It starts from the principal axes, so
    that equal rows in, equal points out; fewer than four rows are drawn by those alone.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, 2008.
    """
    start = principal_map(embeddings).points
    spread = float(start[:, 0].std()) if len(start) else 0.0
    if len(start) < 4 or spread == 0:
        return start
    # Imported late: only maps of this kind need it.
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    made = TSNE(
        perplexity=min(PERPLEXITY, (len(start) - 1) / 3),
        init=(start / spread * START_SPREAD).astype(np.float32),
        learning_rate="auto",
        method="exact" if len(start) <= EXACT_ROWS else "barnes_hut",
        random_state=0,
    )
    with threadpool_limits(1):  # sums of several threads come in any order
        return made.fit_transform(unit_rows(embeddings)).astype(np.float64)


def without_group_means(embeddings: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Unit vectors [N, D] less the mean of their group.

    What is left is how pieces differ inside a modality; without this the distance between the
    modalities fills the first axis.
    """
    unit = unit_rows(embeddings)
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
