"""Distances between sets of embeddings: by hand, by plain sums, and what must hold of them."""

import numpy as np
import pytest

from clamp3.errors import DataError
from clamp3.retrieval.evaluation import distances
from clamp3.retrieval.evaluation.distances import (
    frechet_distance,
    gaussian_distance,
    is_small,
    polynomial_distance,
)


def normal(rows: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width))


def with_moments(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Rows whose mean and covariance are exactly these."""
    raw = normal(50, len(mean), seed=0)
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_two_normal_distributions_by_hand():
    # Covariances that commute: tr(S1 + S2 - 2 sqrt(S1 S2)) = (2 - 1)² + (3 - 1)² = 5; 3² + 4² = 25.
    first = with_moments(np.zeros(2), np.diag([4.0, 9.0]))
    second = with_moments(np.array([3.0, 4.0]), np.eye(2))
    assert frechet_distance(first, second) == pytest.approx(30)
    # Covariances that do not: S1 = [[2, 1], [1, 2]], S2 = diag(1, 4). The root of S1 S2 has the
    # trace sqrt(tr(S1 S2) + 2 sqrt(det(S1 S2))) = sqrt(10 + 2 sqrt(12)), for matrices of 2 × 2.
    first = with_moments(np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]))
    second = with_moments(np.zeros(2), np.diag([1.0, 4.0]))
    assert frechet_distance(first, second) == pytest.approx(4 + 5 - 2 * np.sqrt(10 + 2 * 12**0.5))


@pytest.mark.parametrize("rows", [(300, 40), (12, 9), (2, 300)])
def test_frechet_equals_the_root_by_eigenvalues(rows: tuple[int, int]):
    first, second = normal(rows[0], 20, 1), 0.5 * normal(rows[1], 20, 2) + 0.3
    covariances = np.cov(first.T), np.cov(second.T)
    eigenvalues = np.linalg.eigvals(covariances[0] @ covariances[1])
    apart = first.mean(axis=0) - second.mean(axis=0)
    expected = apart @ apart + np.trace(sum(covariances))
    expected -= 2 * np.sqrt(np.maximum(eigenvalues.real, 0)).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-5)
    assert frechet_distance(second, first) == pytest.approx(frechet_distance(first, second))


def test_a_set_has_no_distance_to_itself():
    same = normal(30, 40, 0)
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(same, same + 2) == pytest.approx(4 * 40)


def test_small_sets_are_told_and_are_indeed_too_far():
    assert is_small(15, 8)
    assert not is_small(16, 8)
    small = frechet_distance(normal(15, 8, 1), normal(15, 8, 2))
    large = frechet_distance(normal(2000, 8, 1), normal(2000, 8, 2))
    assert small > 10 * large


def plain_unbiased(x: np.ndarray, y: np.ndarray, kernel) -> float:
    n, m = len(x), len(y)
    own = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return own + other - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def test_kernel_distances_equal_plain_sums(monkeypatch: pytest.MonkeyPatch):
    x, y = normal(9, 5, 1), normal(12, 5, 2) + 0.5
    between = [np.linalg.norm(y[i] - y[j]) for i in range(12) for j in range(i)]
    bandwidth = np.median(between)
    polynomial = plain_unbiased(x, y, lambda a, b: (a @ b / 5 + 1) ** 3)
    gaussian = plain_unbiased(x, y, lambda a, b: np.exp(-((a - b) ** 2).sum() / 2 / bandwidth**2))
    for chunk in (2**22, 30):
        monkeypatch.setattr(distances, "CHUNK_NUMBERS", chunk)
        assert polynomial_distance(x, y) == pytest.approx(polynomial)
        assert gaussian_distance(x, y) == pytest.approx(gaussian)


@pytest.mark.parametrize("distance", [polynomial_distance, gaussian_distance])
def test_kernel_distances_are_unbiased_and_see_a_shift(distance):
    same = [distance(normal(20, 6, 2 * s), normal(20, 6, 2 * s + 1)) for s in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert min(same) < 0
    assert distance(normal(200, 6, 0), normal(200, 6, 1) + 0.7) > 5 * np.std(same)


def test_equal_rows_and_single_rows():
    assert gaussian_distance(normal(5, 3, 0), np.ones((4, 3))) is None
    assert frechet_distance(np.ones((3, 2)), np.ones((4, 2))) == 0
    for distance in (frechet_distance, polynomial_distance, gaussian_distance):
        with pytest.raises(DataError, match="at least two on each side"):
            distance(np.ones((1, 2)), np.ones((4, 2)))
