"""Ranks in single precision with second looks, against double precision and plain loops."""

import itertools
import math

import numpy as np
import pytest
from retrieval.rankings import plain_cosines, plain_ranking

from clamp3.retrieval.evaluation import ranking
from clamp3.retrieval.evaluation.metrics import TIE_TOLERANCE, summarise
from clamp3.retrieval.evaluation.ranking import GAIN_AT, chance_gain, rank_groups
from clamp3.retrieval.keys import group


def pairs(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Queries [60, 16] and references [80, 16], the first 60 of which are theirs."""
    draws = np.random.default_rng(seed)
    references = draws.standard_normal((80, 16)).astype(np.float32)
    queries = references[:60] + draws.standard_normal((60, 16)).astype(np.float32)
    if kind == "duplicates":
        references[20:40] = references[:20]
    if kind == "collapsed":
        queries, references = np.ones_like(queries), np.ones_like(references)
    if kind == "close":  # nearer to each other than single precision can tell
        near = 1 + 1e-6 * draws.standard_normal((80, 16))
        queries, references = queries.astype(np.float64), (references[:1] * near)
    if kind == "zeros":
        queries[3], references[5:9] = 0, 0
    if kind == "lengths":
        queries, references = queries * 1e30, references * np.float32(1e-30)
    return queries, references


KINDS = ("plain", "duplicates", "collapsed", "close", "zeros", "lengths")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("several", [False, True])
def test_the_ranks_are_those_of_double_precision(kind: str, several: bool):
    queries, references = pairs(kind)
    right = [row // 3 if several else row for row in range(80)]
    asked = [right[row] for row in range(60)]
    groups = group([str(key) for key in asked], [str(key) for key in right])
    placed = rank_groups(queries, references, groups)
    targets = [np.flatnonzero(np.array(right) == key) for key in asked]
    expected = plain_ranking(queries, references, targets)
    assert placed.rows.tolist() == list(range(60))
    assert placed.ranking.better.tolist() == expected.better.tolist()
    assert placed.ranking.tied.tolist() == expected.tied.tolist()
    assert placed.ranking.right.tolist() == expected.right.tolist()
    assert summarise(placed.ranking, [1, 5]) == summarise(expected, [1, 5])
    for row, best in zip(placed.rows, placed.best, strict=True):
        assert best in targets[row]


def plain_gains(query: np.ndarray, references: np.ndarray, right: list[int]) -> tuple[float, float]:
    """nDCG@10 of one query by sorting and averaging blocks, and with right ones first."""
    cosines = plain_cosines(query, references)

    def discount(place: int) -> float:
        return 1 / math.log2(1 + place) if place <= GAIN_AT else 0.0

    ideal = sum(discount(place) for place in range(1, len(right) + 1))
    shared = 0.0
    for row in right:
        above = sum(c > cosines[row] + TIE_TOLERANCE for c in cosines)
        level = sum(abs(c - cosines[row]) <= TIE_TOLERANCE for c in cosines)
        block = range(above + 1, above + level + 1)
        shared += np.mean([discount(place) for place in block])
    order = sorted(range(len(cosines)), key=lambda r: (-round(cosines[r], 5), r not in right))
    first = sum(discount(1 + order.index(row)) for row in right)
    return shared / ideal, first / ideal


@pytest.mark.parametrize("size", [1, 3, 20])
def test_gains_equal_a_plain_sum_over_the_first_places(size: int):
    queries, references = pairs("duplicates")
    keys = [str(row // size) for row in range(80)]
    placed = rank_groups(queries, references, group(keys[:60], keys))
    for row in range(60):
        right = [r for r in range(80) if keys[r] == keys[row]]
        shared, first = plain_gains(queries[row], references, right)
        assert placed.gain[row] == pytest.approx(shared)
        assert placed.first_gain[row] == pytest.approx(first)


def test_chance_of_the_gain_by_every_order():
    orders = list(itertools.permutations(range(5)))
    one = np.mean([1 / math.log2(2 + order[0]) for order in orders])
    two = np.mean([1 / math.log2(2 + o[0]) + 1 / math.log2(2 + o[1]) for o in orders])
    ideal = 1 + 1 / math.log2(3)
    assert chance_gain(5, np.array([1, 2])) == pytest.approx((one + two / ideal) / 2)
    cut = sum(1 / math.log2(1 + place) for place in range(1, GAIN_AT + 1))
    assert chance_gain(100, np.array([1])) == pytest.approx(cut / 100)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch):
    queries, references = pairs(kind)
    keys = [str(row // 2) if row < 20 else str(row) for row in range(80)]
    groups = group(keys[:60], keys)
    whole = rank_groups(queries, references, groups)
    monkeypatch.setattr(ranking, "CHUNK_NUMBERS", 7 * 80)
    parts = rank_groups(queries, references, groups)
    for name in ("rows", "best", "gain", "first_gain"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))
    assert np.array_equal(whole.ranking.ranks, parts.ranking.ranks)


@pytest.mark.parametrize("share", [0, 1])
def test_second_looks_decide_what_single_precision_cannot(share, monkeypatch: pytest.MonkeyPatch):
    """Many stand where it is a matter of 1e-9 whether they are level with the right one."""
    monkeypatch.setattr(ranking, "CLOSE_SHARE", share)  # singly, or the whole gallery again
    cosines = 0.5 + np.linspace(-1.1e-6, 1.1e-6, 2001)[:, None]
    axes = np.random.default_rng(0).standard_normal((2002, 512))
    query = axes[:1] / np.linalg.norm(axes[0])
    across = axes[1:] - (axes[1:] @ query.T) * query
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    references = cosines * query + np.sqrt(1 - cosines**2) * across
    keys = list(map(str, range(2001)))
    placed = rank_groups(query, references, group(["1000"], keys))
    expected = plain_ranking(query, references, [[1000]])
    assert placed.ranking.better.tolist() == expected.better.tolist()
    assert placed.ranking.tied.tolist() == expected.tied.tolist()
    assert 1800 < expected.tied[0] < 1850


def test_half_precision_and_unmatched_rows():
    queries, references = (side.astype(np.float16) for side in pairs("plain"))
    groups = group(["x", "3", "y", "5"], ["3", "z", "5"])
    placed = rank_groups(queries[:4], references[:3], groups)
    assert placed.rows.tolist() == [1, 3]
    assert placed.ranking.references == 3
    expected = plain_ranking(queries[[1, 3]], references[:3], [[0], [2]])
    assert placed.ranking.better.tolist() == expected.better.tolist()
