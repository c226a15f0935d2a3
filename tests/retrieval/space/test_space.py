"""The shape of a space against plain loops and closed cases; neighbours against a plain sort."""

import itertools
import math

import numpy as np
import pytest

from clamp3.errors import DataError
from clamp3.retrieval.space import shape as space
from clamp3.retrieval.space.maps import neighbour_map
from clamp3.retrieval.space.neighbours import NOBODY, choose_rows, find_neighbours, purity
from clamp3.retrieval.space.shape import (
    alignment,
    effective_dimension,
    modality_gap,
    occurrences,
    skewness,
    uniformity,
)
from clamp3.retrieval.vectors import unit_rows


def cloud(rows: int, width: int = 5, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng([rows, width, int(10 * shift)])
    return (rng.standard_normal((rows, width)) + shift).astype(np.float32)


def unit(row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    return row / math.sqrt(sum(x * x for x in row))


def names(rows: int, each: int = 1) -> list[str]:
    return [f"piece {row // each}" for row in range(rows)]


def test_directions_have_length_one_and_zero_stays():
    rows = unit_rows(np.array([[3, 4], [0, 0], [-2, 0]], dtype=np.float16))
    np.testing.assert_array_equal(rows, [[0.6, 0.8], [0, 0], [-1, 0]])
    assert rows.dtype == np.float64


def test_the_gap_between_opposite_points_is_two():
    east, west = np.tile([5.0, 0], (4, 1)), np.tile([-0.1, 0], (4, 1))
    assert modality_gap(east, west).distance == 2
    assert modality_gap(east, east).distance == 0
    assert modality_gap(east, east).by_chance == 0


def test_the_gap_by_chance_is_that_of_all_ways_to_deal_the_rows():
    x, y = cloud(3), cloud(4, shift=2)
    rows = np.array([unit(row) for row in [*x, *y]])
    squares = []
    for first in itertools.combinations(range(7), 3):
        rest = [row for row in range(7) if row not in first]
        squares.append(np.sum((rows[list(first)].mean(0) - rows[rest].mean(0)) ** 2))
    found = modality_gap(x, y)
    assert found.by_chance == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-12)
    actual = np.linalg.norm(rows[:3].mean(0) - rows[3:].mean(0))
    assert found.distance == pytest.approx(actual, rel=1e-12)


def test_a_gap_needs_rows():
    with pytest.raises(DataError, match="between 0 and 2"):
        modality_gap(np.zeros((0, 2)), np.ones((2, 2)))


def test_alignment_is_a_plain_loop_over_partners():
    x, y = cloud(7), cloud(9, shift=1)
    keys = (["a", "b", "b", "c", "x", "d", "a"], ["b", "a", "d", "b", "y", "c", "d", "a", "z"])
    found = alignment(x, y, keys)
    distances, shifts = [], []
    for row, key in zip(x, keys[0], strict=True):
        partners = [unit(y[place]) for place, other in enumerate(keys[1]) if other == key]
        if partners:
            distances.append(np.mean([np.sum((unit(row) - one) ** 2) for one in partners]))
            shifts.append(unit(row) - np.mean(partners, axis=0))
    assert found.pairs == 6
    assert found.distance == pytest.approx(np.mean(distances), rel=1e-12)
    share = np.sum(np.mean(shifts, axis=0) ** 2) / np.mean(distances)
    assert found.gap_share == pytest.approx(share, rel=1e-12)
    assert found.interval[0] < found.distance < found.interval[1]


def test_unmatched_is_the_mean_over_all_pairs_of_those_with_partners():
    x, y = cloud(5), cloud(6)
    found = alignment(x, y, (names(5), names(6)))
    all_pairs = [np.sum((unit(a) - unit(b)) ** 2) for a in x for b in y[:5]]
    assert found.unmatched == pytest.approx(np.mean(all_pairs), rel=1e-12)


def test_a_shift_of_all_rows_is_the_whole_distance():
    circle = np.array([[np.cos(t), np.sin(t), 0] for t in np.arange(6)])
    lifted = (circle + np.eye(3)[2]) / math.sqrt(2)
    same = alignment(circle, circle * 7, (names(6), names(6)))
    assert same.distance == pytest.approx(0, abs=1e-15)
    flipped = np.concatenate([circle, -circle])
    apart = alignment(flipped, -flipped, (names(12), names(12)))
    assert apart.distance == pytest.approx(4)
    assert apart.gap_share == pytest.approx(0, abs=1e-12)
    east, north = np.tile([1.0, 0, 0], (3, 1)), np.tile([0, 1.0, 0], (3, 1))
    moved = alignment(east, north, (names(3), names(3)))
    assert (moved.distance, moved.gap_share) == (2, 1)
    raised = alignment(circle, lifted, (names(6), names(6)))
    assert 0.5 < raised.gap_share < 1
    assert alignment(east, east, (names(3), names(3))).gap_share is None
    assert alignment(east, north, (["a"] * 3, ["b"] * 3)) is None


@pytest.mark.parametrize("numbers", [1, 30, 2**22])
def test_uniformity_is_a_plain_loop_in_blocks_of_any_size(monkeypatch, numbers: int):
    monkeypatch.setattr(space, "BLOCK_NUMBERS", numbers)
    rows = cloud(11)
    kernel = [
        math.exp(-2 * np.sum((unit(a) - unit(b)) ** 2))
        for place, a in enumerate(rows)
        for b in rows[place + 1 :]
    ]
    assert uniformity(rows) == pytest.approx(math.log(np.mean(kernel)), rel=1e-12)


def test_uniformity_of_closed_cases():
    assert uniformity(np.ones((5, 3))) == pytest.approx(0, abs=1e-12)
    assert uniformity(np.eye(6)) == pytest.approx(-4)
    assert uniformity(np.array([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    assert uniformity(np.ones((1, 3))) is None


def test_the_effective_dimension_counts_equal_axes():
    for width in (1, 2, 5):
        axes = np.eye(7)[:width]
        assert effective_dimension(np.concatenate([axes, -axes])) == pytest.approx(width)
    tall, wide = cloud(40, 6), cloud(6, 40)
    for rows in (tall, wide):
        values = np.linalg.eigvalsh(np.cov(unit_rows(rows).T))
        expected = values.sum() ** 2 / (values**2).sum()
        assert effective_dimension(rows) == pytest.approx(expected)
    assert effective_dimension(np.ones((4, 3)) * 0.1) == 0
    assert effective_dimension(np.zeros((0, 3))) == 0


def test_hubs_are_counted_and_skew():
    nearest = np.array([[0, 1], [0, 2], [0, NOBODY]])
    np.testing.assert_array_equal(occurrences(nearest, 5), [3, 1, 1, 0, 0])
    assert skewness([2, 2, 2]) == 0
    assert skewness([1, 2, 3]) == pytest.approx(0)
    assert skewness([0] * 9 + [10]) == pytest.approx(8 / 3)  # of one in ten: (1 − 2p) / √(p q)


def test_neighbours_are_a_plain_sort_without_the_piece_itself():
    x, y = cloud(12), cloud(20)
    y[3] = y[9] * 2
    keys = names(12, 2), names(20, 3)
    found = find_neighbours(x, y, keys, 6)
    for row, query in enumerate(x):
        cosines = [round(float(unit(query) @ unit(other)), 6) for other in y]
        others = [place for place in range(20) if keys[1][place] != keys[0][row]]
        expected = sorted(others, key=lambda place: (-cosines[place], place))[:6]
        assert found.rows[row].tolist() == expected
        np.testing.assert_allclose(found.cosines[row], [cosines[p] for p in expected], atol=1e-6)


def test_too_few_others_leave_places_empty():
    found = find_neighbours(cloud(3), cloud(3), (names(3), names(3)), 5)
    assert (found.rows >= 0).sum(axis=1).tolist() == [2, 2, 2]
    assert np.isnan(found.cosines[:, 2:]).all()
    alone = find_neighbours(cloud(1), cloud(1), (["a"], ["a"]), 2)
    assert alone.rows.tolist() == [[NOBODY, NOBODY]]


def test_purity_and_chance_are_plain_loops():
    x, y = cloud(10), cloud(14)
    keys = names(10), names(14, 2)
    values = (
        ["C", "G", None, "C", "D", "G", "C", "E", "G", "C"],
        ["C", None, "G", "C", "D", "G", None, "C", "G", "C", "C", "D", "G", "C"],
    )
    neighbours = find_neighbours(x, y, keys, 4)
    shares, chances = [], []
    for row in range(10):
        near = [values[1][place] for place in neighbours.rows[row] if values[1][place]]
        others = [v for v, key in zip(values[1], keys[1], strict=True) if v and key != keys[0][row]]
        if values[0][row] and near:
            shares.append(np.mean([value == values[0][row] for value in near]))
            chances.append(np.mean([value == values[0][row] for value in others]))
    found = purity(neighbours, keys, values)
    assert found.queries == len(shares) == 9
    assert found.share == pytest.approx(np.mean(shares))
    assert found.chance == pytest.approx(np.mean(chances))
    assert found.interval[0] <= found.share <= found.interval[1]


def test_purity_of_a_random_order_is_chance():
    rng = np.random.default_rng(0)
    rows, keys = rng.standard_normal((400, 20)), names(400)
    values = list(rng.choice(["C", "G", "D"], 400, p=[0.6, 0.3, 0.1]))
    found = purity(find_neighbours(rows, rows, (keys, keys), 10), (keys, keys), (values, values))
    assert found.interval[0] < found.chance < found.interval[1]


def test_purity_of_separate_groups_is_one_and_of_no_values_none():
    rows = np.repeat(np.eye(3), 4, axis=0)
    keys, values = names(12), list(np.repeat(["a", "b", "c"], 4))
    near = find_neighbours(rows, rows, (keys, keys), 3)
    found = purity(near, (keys, keys), (values, values))
    assert found.share == 1
    assert found.chance == pytest.approx(3 / 11)
    assert found.interval[0] < 1  # twelve pieces do not prove that all will be
    nothing: list[str | None] = [None] * 12
    assert purity(near, (keys, keys), (values, nothing)) is None


def test_pieces_to_show_depend_on_neither_order_nor_other_rows():
    keys = names(30, 2)
    chosen = [keys[row] for row in choose_rows(keys, 4)]
    assert len(set(chosen)) == 4
    back = keys[::-1]
    assert [back[row] for row in choose_rows(back, 4)] == chosen
    assert choose_rows(keys[:4], 9) in ([0, 2], [2, 0])


def test_a_map_of_neighbours_keeps_groups_together_and_repeats_itself():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(8)[:3], 20, axis=0) + rng.standard_normal((60, 8)) * 0.05
    points = neighbour_map(rows)
    np.testing.assert_array_equal(points, neighbour_map(rows))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(60) * 1e9
    group = np.arange(60) // 20
    assert (group[apart.argmin(axis=1)] == group).all()


@pytest.mark.parametrize("rows", [np.ones((9, 3)), np.eye(3), np.zeros((1, 3))])
def test_a_map_of_little_is_that_of_the_axes(rows: np.ndarray):
    assert neighbour_map(rows).shape == (len(rows), 2)
    assert np.isfinite(neighbour_map(rows)).all()
