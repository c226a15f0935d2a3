"""Graded rankings against a plain definition; ties, the query itself, nothing to find."""

import math
from itertools import pairwise, permutations

import numpy as np
import pytest

from clamp3.errors import DataError
from clamp3.retrieval.evaluation.graded import caption_grades, mean_ndcg, ndcg


def plain_gain(grades, at):
    return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades[:at]))


def plain_ndcg(scores, grades, at):
    """The mean over all orders that the scores allow."""
    references = range(len(scores))
    best = plain_gain(sorted(grades, reverse=True), at)
    orders = [
        order
        for order in permutations(references)
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    return sum(plain_gain([grades[r] for r in o], at) for o in orders) / len(orders) / best


@pytest.mark.parametrize("at", [1, 2, 4, 9])
def test_is_the_mean_over_all_orders_of_tied_references(at):
    rng = np.random.default_rng(at)
    scores = rng.integers(0, 3, size=(8, 5)) / 2
    grades = rng.uniform(size=(8, 5))
    expected = [plain_ndcg(*row, at) for row in zip(scores.tolist(), grades.tolist(), strict=True)]
    assert ndcg(scores, grades, at) == pytest.approx(expected)


def test_the_best_order_is_one_and_the_worst_less():
    grades = np.array([[1.0, 0.5, 0.0, 0.2]])
    assert ndcg(grades, grades, 3)[0] == pytest.approx(1)
    assert ndcg(-grades, grades, 3)[0] < 0.5


def test_the_query_itself_is_kept_out():
    grades = caption_grades(np.array([[1.0, 0], [1, 0.1], [0, 1]]))
    scores = np.random.default_rng(0).normal(size=(3, 3))
    alone = scores.copy()
    np.fill_diagonal(alone, -np.inf)
    found = ndcg(alone, grades, 2)
    rest = [[1, 2], [0, 2], [0, 1]]
    plain = [
        plain_ndcg(scores[q][r].tolist(), grades[q][r].tolist(), 2) for q, r in enumerate(rest)
    ]
    assert found == pytest.approx(plain)


def test_a_collapsed_model_scores_chance():
    grades = np.random.default_rng(1).uniform(size=(4, 6))
    figures = mean_ndcg(np.zeros((4, 6)), grades, (1, 5))
    assert figures["ndcg@5"] == pytest.approx(figures["chance"]["ndcg@5"])
    assert figures["queries"] == 4
    assert mean_ndcg(grades, grades, (5,))["ndcg@5"] == pytest.approx(1)


def test_queries_with_nothing_to_find_do_not_count():
    scores = np.array([[1.0, 0], [0, 1]])
    grades = np.array([[0.0, 0], [0, 1]])
    assert np.isnan(ndcg(scores, grades, 1)[0])
    assert mean_ndcg(scores, grades, (1,)) == {"queries": 1, "ndcg@1": 1, "chance": {"ndcg@1": 0.5}}
    empty = mean_ndcg(scores, np.zeros((2, 2)), (1,))
    assert empty["ndcg@1"] is None
    assert ndcg(np.zeros((0, 3)), np.zeros((0, 3)), 2).shape == (0,)


@pytest.mark.parametrize(
    ("scores", "grades", "at", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), 1, "expected the same"),
        (np.full((1, 2), np.nan), np.zeros((1, 2)), 1, "NaN"),
        (np.zeros((1, 2)), np.array([[1, -1]]), 1, "less than 0"),
        (np.zeros((1, 2)), np.zeros((1, 2)), 0, "at least 1 place"),
    ],
)
def test_wrong_input_is_told(scores, grades, at, message):
    with pytest.raises(DataError, match=message):
        ndcg(scores, grades, at)


def test_grades_are_cosines_and_never_below_zero():
    grades = caption_grades(np.array([[3.0, 0], [-1, 0], [1, 1], [0, 0]]))
    assert grades[0] == pytest.approx([1, 0, math.sqrt(0.5), 0])
    assert (grades >= 0).all()
    with pytest.raises(DataError, match="captions"):
        caption_grades(np.full((2, 2), np.inf))
