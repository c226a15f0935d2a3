"""How far two sets of embeddings are from each other as distributions.

For the evaluation of generated music: `set` against `reference`. Distances are of the vectors as
they are; give rows of length 1 for distances that only see directions.
"""

import numpy as np

from clamp3.errors import DataError

MEDIAN_ROWS = 2000  # of the reference set, for the bandwidth
CHUNK_NUMBERS = 2**22


def frechet_distance(vectors: np.ndarray, reference: np.ndarray) -> float:
    """|m1 − m2|² + tr(S1 + S2 − 2 (S1 S2)^½) of sets [N, D] and [M, D], S with N − 1.

    The trace of the root is the sum of the singular values of A Bᵀ, where S1 = AᵀA and S2 = BᵀB:
    no root of a matrix, no number added to its diagonal, and right where N < D, too. As an estimate
    it is too large for small sets: see `is_small`.

    Source: Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982.
    Raises DataError for fewer than two rows.
    """
    vectors, reference = _checked(vectors, reference)
    apart = vectors.mean(axis=0) - reference.mean(axis=0)
    first, second = _covariance_root(vectors), _covariance_root(reference)
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    distance = apart @ apart + np.sum(first**2) + np.sum(second**2) - 2 * shared
    return max(0.0, float(distance))


def is_small(rows: int, width: int) -> bool:
    """Whether a set is too small for its Fréchet distance to be taken at its word."""
    return rows < 2 * width


def polynomial_distance(vectors: np.ndarray, reference: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y / D + 1)³.

    Its mean is the true value for sets of any size; so it is below 0 at times.

    Source: Bińkowski and others, Demystifying MMD GANs, 2018 (KID), over whole sets, not subsets.
    Raises DataError for fewer than two rows.
    """
    vectors, reference = _checked(vectors, reference)
    width = vectors.shape[1]
    return _unbiased(vectors, reference, lambda x, y: (x @ y.T / width + 1) ** 3)


def gaussian_distance(vectors: np.ndarray, reference: np.ndarray) -> float | None:
    """Unbiased squared maximum mean discrepancy with the kernel exp(−|x − y|² / 2b²).

    b is the median distance between rows of the reference set (of `MEDIAN_ROWS` spread over it).
    None where most rows of the reference are equal, so that b would be 0.

    Source: Chung and others, KAD: No More FAD!, 2025; there multiplied by a constant for reading.
    Raises DataError for fewer than two rows.
    """
    vectors, reference = _checked(vectors, reference)
    some = reference[np.unique(np.linspace(0, len(reference) - 1, MEDIAN_ROWS).astype(int))]
    squares = _squared_distances(some, some)[np.triu_indices(len(some), k=1)]
    bandwidth = float(np.median(np.sqrt(squares)))
    if bandwidth == 0:
        return None
    scale = 2 * bandwidth**2
    return _unbiased(vectors, reference, lambda x, y: np.exp(-_squared_distances(x, y) / scale))


def _checked(vectors: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = np.asarray(vectors, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if min(map(len, both)) < 2:
        raise DataError(
            f"sets of {len(both[0])} and {len(both[1])} embeddings: a distance between "
            "distributions needs at least two on each side"
        )
    return both


def _covariance_root(vectors: np.ndarray) -> np.ndarray:
    """A [min(N, D), D] with AᵀA the covariance."""
    centred = (vectors - vectors.mean(axis=0)) / np.sqrt(len(vectors) - 1)
    return np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1)[None] - 2 * x @ y.T
    return np.maximum(squares, 0)


def _unbiased(x: np.ndarray, y: np.ndarray, kernel) -> float:
    n, m = len(x), len(y)
    own = (_kernel_sum(x, x, kernel) - _kernel_diagonal(x, kernel)) / (n * (n - 1))
    other = (_kernel_sum(y, y, kernel) - _kernel_diagonal(y, kernel)) / (m * (m - 1))
    return float(own + other - 2 * _kernel_sum(x, y, kernel) / (n * m))


def _kernel_sum(x: np.ndarray, y: np.ndarray, kernel) -> float:
    step = max(1, CHUNK_NUMBERS // len(y))
    return float(sum(kernel(x[i : i + step], y).sum() for i in range(0, len(x), step)))


def _kernel_diagonal(x: np.ndarray, kernel) -> float:
    return float(sum(kernel(row[None], row[None])[0, 0] for row in x))
