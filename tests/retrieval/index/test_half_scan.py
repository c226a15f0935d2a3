"""The scan of float16 vectors, and the bound that makes results exact."""

import numpy as np
import pytest

from clamp3.retrieval.index.half_scan import NO_ROW, HalfScan, candidates, scan_error, to_half
from clamp3.retrieval.index.segment import cosines


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_half_vectors_are_within_their_bound_of_the_unit_vectors():
    draws = np.random.default_rng(0)
    for scale in (1.0, 1e-35, 1e30):
        vectors = (draws.standard_normal((300, 65)) * scale).astype(np.float32)
        vectors[:, 3] *= 1e-6  # lost in half precision
        halves, error = to_half(vectors)
        distances = np.linalg.norm(unit(vectors) - halves.astype(np.float64), axis=1)
        assert 0.5 * error < distances.max() <= error < 1e-3


def test_a_zero_vector_stays_one_and_nothing_is_subnormal():
    vectors = np.zeros((2, 8), dtype=np.float32)
    vectors[1] = [1, 1e-5, 0, 0, 0, 0, 0, -3e-5]
    halves, error = to_half(vectors)
    assert not halves[0].any()
    assert halves[1].tolist() == [1] + [0] * 7
    assert error >= np.hypot(1e-5, 3e-5)


@pytest.mark.parametrize("queries", [1, 2, 4, 7])
def test_products_are_those_of_plain_multiplication(queries: int):
    draws = np.random.default_rng(1)
    vectors = draws.standard_normal((20_000, 37)).astype(np.float32)
    halves, error = to_half(vectors)
    asked = unit(draws.standard_normal((queries, 37)))
    found = HalfScan(threads=3).products(halves, asked)
    exact = asked @ halves.astype(np.float64).T
    np.testing.assert_allclose(found, exact, atol=1e-5)
    assert np.abs(found - asked @ unit(vectors).T).max() <= scan_error(error, 37)


def test_every_half_number_is_read_right():
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)]
    normal = numbers[(np.abs(numbers) >= 2.0**-14) | (numbers == 0)]
    rows = np.zeros((len(normal), 3), dtype=np.float16)
    rows[:, 1] = normal
    found = HalfScan(threads=1).products(rows, np.array([[0.0, 1.0, 0.0]]))
    np.testing.assert_array_equal(found[0], normal.astype(np.float32))


def test_rows_that_are_not_allowed_are_never_candidates():
    draws = np.random.default_rng(2)
    halves, error = to_half(draws.standard_normal((500, 16)).astype(np.float32))
    allowed = draws.random(500) < 0.1
    products = HalfScan(1).products(halves, unit(draws.standard_normal((2, 16))), allowed)
    assert (products[:, ~allowed] == NO_ROW).all()
    for row in products:
        for count in (1, 10, 1000):
            found = candidates(row, count, scan_error(error, 16))
            assert allowed[found].all()
            assert len(found) >= min(count, np.count_nonzero(allowed))


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-9, 1e-7, 1e-5, 1e-4])
def test_no_true_neighbour_is_missed_among_near_ties(gap: float):
    """Rows whose cosines differ by less than float16 can tell, in an order it gets wrong."""
    draws = np.random.default_rng(3)
    width, size, count = 768, 600, 10
    query = unit(draws.standard_normal(width))
    across = draws.standard_normal((size, width))
    across = unit(across - np.outer(across @ query, query))
    wanted = 0.3 + gap * draws.permutation(size)
    rows = wanted[:, None] * query + np.sqrt(1 - wanted**2)[:, None] * across
    vectors = (rows * draws.uniform(0.1, 50, (size, 1))).astype(np.float32)
    halves, error = to_half(vectors)
    products = HalfScan(1).products(halves, query[None])[0]
    exact = cosines(vectors, query)
    best = np.argsort(-exact)[:count]
    found = candidates(products, count, scan_error(error, width))
    assert set(best) <= set(found)
    if gap < 1e-6:  # the data are hard: the scan's own order is wrong
        assert set(best) - set(np.argsort(-products)[:count])


def test_the_cosine_of_a_row_does_not_depend_on_the_others():
    draws = np.random.default_rng(4)
    rows = draws.standard_normal((97, 768)).astype(np.float32)
    query = draws.standard_normal(768)
    together = cosines(rows, query)
    for chosen in ([5], [5, 6], [96, 5], list(range(3, 50))):
        np.testing.assert_array_equal(cosines(rows[chosen], query), together[chosen])
