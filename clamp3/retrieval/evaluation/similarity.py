"""What `clamp3 score` does: how alike two sets of embeddings are, by pairs and as groups."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clamp3.errors import DataError
from clamp3.retrieval.evaluation.distances import (
    frechet_distance,
    gaussian_distance,
    is_small,
    polynomial_distance,
)
from clamp3.retrieval.evaluation.figures import interval_text, rounded, rounded_interval
from clamp3.retrieval.evaluation.intervals import LEVEL, mean_intervals
from clamp3.retrieval.keys import NO_KEY, Groups, group, keys_of
from clamp3.retrieval.vector_files import read_embeddings
from clamp3.retrieval.vectors import refuse_two_models, unit_rows


def score(
    first: Path | str, second: Path | str, *, by: str = "name", groups: bool = False, seed: int = 0
) -> dict:
    """The report on two sources of embeddings: JSON values, the same in every run.

    By pairs: the mean cosine of rows of `first` with those of `second` of the same key, its
    interval, and what has no partner. With `groups`, where no row needs a partner: the cosine of
    the two means, the mean of all cosines, and the distances between the distributions.

    Source: sanderwood/clamp3@9016d2b inference/clamp3_score.py
    Differs: a row of `first` counts once, with its mean over all rows of the same key, where the
    originals take whichever comes first; what has no partner is left out without a question.
    Raises DataError where nothing can be compared.
    """
    sides = read_embeddings(first), read_embeddings(second)
    vectors = sides[0].vectors, sides[1].vectors
    refuse_two_models(*vectors)
    report = {
        "first": str(first),
        "second": str(second),
        "rows": [len(side.ids) for side in vectors],
        "refused": {"first": sides[0].refusals, "second": sides[1].refusals},
    }
    if groups:
        embeddings = vectors[0].embeddings, vectors[1].embeddings
        return report | group_similarities(*embeddings) | distances(*embeddings)
    keys = group(*(keys_of(side, by) for side in vectors))
    if not keys.keys:
        raise DataError(
            f"no pairs by {by}: the keys of {first} and {second} have nothing in common; --group "
            "compares the two as wholes"
        )
    rows, cosines = pair_similarities(vectors[0].embeddings, vectors[1].embeddings, keys)
    interval = mean_intervals(cosines[:, None], keys.queries[rows], seed=seed)[0]
    return report | {
        "by": by,
        "pairwise_similarity": rounded(cosines.mean()),
        "interval": rounded_interval(interval),
        "level": LEVEL,
        "pairs": [
            {"first": vectors[0].ids[row], "similarity": rounded(cosine)}
            for row, cosine in zip(rows, cosines, strict=True)
        ],
        "unmatched": {
            "first": _lone(vectors[0].ids, keys.queries),
            "second": _lone(vectors[1].ids, keys.references),
        },
    }


def pair_similarities(
    first: np.ndarray, second: np.ndarray, groups: Groups
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of `first` with a partner [M], and their mean cosine with their partners [M]."""
    rows = np.flatnonzero(groups.queries != NO_KEY)
    members = groups.members()
    # The mean of cosines with several is the product with the mean of their directions.
    partners = np.stack([unit_rows(second[member]).mean(axis=0) for member in members])
    cosines = np.einsum("ij,ij->i", unit_rows(first[rows]), partners[groups.queries[rows]])
    return rows, cosines


def group_similarities(first: np.ndarray, second: np.ndarray) -> dict:
    """`cosine_of_means`, which the originals' --group gives, and `mean_of_cosines` of all pairs."""
    means = [side.mean(axis=0, dtype=np.float64)[None] for side in (first, second)]
    cosine = (unit_rows(means[0]) @ unit_rows(means[1]).T).item()
    directions = [unit_rows(side).mean(axis=0) for side in (first, second)]
    return {
        "cosine_of_means": rounded(cosine),
        "mean_of_cosines": rounded(directions[0] @ directions[1]),
    }


def distances(first: np.ndarray, second: np.ndarray) -> dict:
    """The distances between two sets [N, D] and [M, D], the second the reference, and a caveat.

    Without at least two rows on each side every distance is None, and the Gaussian one where most
    rows of the reference are equal.
    """
    width = first.shape[1]
    smaller = min(len(first), len(second))
    names = ("frechet_distance", "polynomial_kernel_distance", "gaussian_kernel_distance")
    if smaller < 2:
        return dict.fromkeys(names) | {"caveat": "a distance needs two embeddings on each side"}
    made = (frechet_distance, polynomial_distance, gaussian_distance)
    found = {name: _told(f(first, second)) for name, f in zip(names, made, strict=True)}
    caveat = (
        f"the Fréchet distance of sets of {smaller} < 2 × {width} embeddings is too large by an "
        "unknown amount: compare it only between sets of equal size; the kernel distances are "
        "unbiased"
    )
    return found | {"caveat": caveat if is_small(smaller, width) else None}


def lines(report: dict) -> list[str]:
    """The report as a person reads it."""
    head = "embeddings                     {} and {}".format(*report["rows"])
    if "pairwise_similarity" in report:
        lone = report["unmatched"]
        ends = interval_text(report["interval"])
        ends = f" (95 % interval {ends})" if ends else ""
        return [
            head,
            f"pairs                          {len(report['pairs'])}, without a partner "
            f"{len(lone['first'])} and {len(lone['second'])}",
            f"mean pairwise similarity       {report['pairwise_similarity']:.4f}{ends}",
        ]
    found = [
        head,
        f"cosine of the two means        {report['cosine_of_means']:.4f}",
        f"mean of all pairwise cosines   {report['mean_of_cosines']:.4f}",
    ]
    for title, name in (
        ("Fréchet distance", "frechet_distance"),
        ("kernel distance, polynomial", "polynomial_kernel_distance"),
        ("kernel distance, Gaussian", "gaussian_kernel_distance"),
    ):
        if report[name] is not None:
            found.append(f"{title:<30} {report[name]:.6g}")
    return [*found, f"note: {report['caveat']}"] if report["caveat"] else found


def _told(distance: float | None) -> float | None:
    return None if distance is None else float(f"{distance:.6g}")


def _lone(ids: Sequence[str], numbers: np.ndarray) -> list[str]:
    return [ids[row] for row in np.flatnonzero(numbers == NO_KEY)]
