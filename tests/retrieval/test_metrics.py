"""Ranks and figures against plain loops, the originals' results, and what must hold of them."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from clamp3.errors import DataError
from clamp3.retrieval import metrics
from clamp3.retrieval.metrics import chance_levels, rank_targets, ranks, retrieval_metrics
from clamp3.retrieval.pairing import pair_by_id, pair_by_name


def vectors(rows: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def plain_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = [float(x) for x in a], [float(x) for x in b]
    length = sum(x * x for x in a) ** 0.5 * sum(x * x for x in b) ** 0.5
    return sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0


def plain_rank(query: np.ndarray, references: np.ndarray, target: int) -> float:
    """Places counted from 1, ties shared: the mean of the first and the last place possible."""
    scores = [plain_cosine(query, reference) for reference in references]
    above = sum(s > scores[target] + 1e-6 for s in scores)
    level = sum(abs(s - scores[target]) <= 1e-6 for s in scores)
    return above + (1 + level) / 2


def test_ranks_equal_a_plain_count():
    queries, references = vectors(30), vectors(50, seed=1)
    references[10:14] = references[3]  # ties, for some of them with the right one
    references[20] *= 7  # length must not matter
    targets = np.arange(30)
    expected = [plain_rank(queries[i], references, i) for i in range(30)]
    assert ranks(queries, references, targets).tolist() == expected
    assert expected[3] % 1 == 0  # five level ones: the mean of five places is whole


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    queries, references, targets = vectors(30), vectors(40, seed=1), np.arange(30)
    whole = ranks(queries, references, targets)
    monkeypatch.setattr(metrics, "CHUNK_NUMBERS", 7 * 40)
    assert np.array_equal(ranks(queries, references, targets), whole)


def test_figures_with_ties_are_means_over_all_orders_of_the_tied():
    references = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [-1, 0]])
    queries = np.array([[1.0, 0.1], [0.2, 1]])
    targets = [1, 1]  # level with 0 and 2; for the second query behind 3
    places = [list(itertools.permutations([1, 2, 3])), list(itertools.permutations([2, 3, 4]))]
    reciprocal = np.mean([np.mean([1 / order[0] for order in orders]) for orders in places])
    hits = np.mean([np.mean([order[0] <= 2 for order in orders]) for orders in places])
    found = retrieval_metrics(queries, references, targets, hits_at=[2])
    assert found["mrr"] == pytest.approx(reciprocal)
    assert found["hit@2"] == pytest.approx(hits)
    assert ranks(queries, references, targets).tolist() == [2, 3]


def test_identical_vectors_are_found_first():
    same = vectors(25)
    found = retrieval_metrics(same, same, np.arange(25), hits_at=[1])
    assert found["mrr"] == found["hit@1"] == found["median_rank"] == 1
    assert (found["queries"], found["references"]) == (25, 25)


def test_permuting_both_sides_changes_nothing():
    queries, references = vectors(20), vectors(20, seed=1)
    order, other = (
        np.random.default_rng(2).permutation(20),
        np.random.default_rng(3).permutation(20),
    )
    place = np.argsort(other)  # where each reference went
    direct = retrieval_metrics(queries, references, np.arange(20))
    shuffled = retrieval_metrics(queries[order], references[other], place[order])
    assert shuffled.pop("chance") == direct.pop("chance")
    assert shuffled == pytest.approx(direct)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_collapsed_model_scores_chance(noise: float):
    queries = np.ones((40, 8)) + noise * vectors(40)
    found = retrieval_metrics(queries, queries, np.arange(40), hits_at=[1, 10])
    assert found["mrr"] == pytest.approx(sum(1 / n for n in range(1, 41)) / 40)
    assert found["hit@10"] == pytest.approx(10 / 40)
    assert found["median_rank"] == 20.5
    for name, level in found["chance"].items():
        assert found[name] == pytest.approx(level)
    assert retrieval_metrics(queries, queries, np.arange(40), ties="optimistic")["mrr"] == 1


def test_zero_vectors_are_level_with_everything_at_right_angles():
    assert ranks(np.zeros((1, 3)), np.eye(3), [0]).tolist() == [2]


def test_chance_by_counting_every_order():
    orders = list(itertools.permutations(range(5)))
    assert chance_levels(5, [2])["mrr"] == pytest.approx(np.mean([1 / (o[0] + 1) for o in orders]))
    assert chance_levels(5, [2])["hit@2"] == pytest.approx(2 / 5)
    assert chance_levels(5, [9])["hit@9"] == 1
    first = [1 + sum(o[other] < min(o[0], o[1]) for other in (2, 3, 4)) for o in orders]
    two = chance_levels(5, [1], right=2)
    assert two["mrr"] == pytest.approx(np.mean([1 / f for f in first]))
    assert two["hit@1"] == pytest.approx(np.mean([f == 1 for f in first]))
    assert two["mean_rank"] == pytest.approx(np.mean(first))
    assert chance_levels(1_000)["mrr"] == pytest.approx(0.0075, abs=5e-5)


def test_the_best_of_several_right_references_counts_and_the_others_are_no_rivals():
    references = np.array([[1.0, 0], [0.9, 0.1], [0.8, 0.3], [0, 1]])
    found = rank_targets(np.array([[1.0, 0.01]]), references, [[1, 2]])
    assert found.ranks.tolist() == [2]
    assert rank_targets(np.array([[0.0, 1]]), references, [[1, 2, 3]]).ranks.tolist() == [1]


def test_no_queries_gives_no_figures():
    found = retrieval_metrics(np.zeros((0, 4)), vectors(3, 4), [])
    assert (found["queries"], found["references"]) == (0, 3)
    assert found["mrr"] is found["hit@5"] is found["chance"]["mrr"] is None


@pytest.mark.parametrize(
    ("queries", "references", "targets", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), [0, 1], "two different models"),
        (np.ones(3), np.ones((2, 3)), [0], r"found shape \[3\]"),
        (np.ones((1, 3)), np.ones((2, 3)), [2], "out of range 0 … 1"),
        (np.ones((1, 3)), np.ones((2, 3)), [-1], "out of range"),
        (np.ones((1, 3)), np.ones((2, 3)), [[]], "no right reference"),
        (np.ones((2, 3)), np.ones((2, 3)), [0], "1 targets for 2 queries"),
        (np.array([[1.0, np.nan]]), np.ones((2, 2)), [0], r"queries: 1 row\(s\) hold NaN"),
    ],
)
def test_what_makes_no_sense_is_refused(queries, references, targets, message: str):
    with pytest.raises(DataError, match=message):
        ranks(queries, references, targets)


def test_the_originals_ranks_and_figures(goldens: Path):
    expected = json.loads((goldens / "models/retrieval.json").read_text(encoding="utf-8"))["eval"]
    features = np.load(goldens / "models/retrieval_features.npz")
    names = {
        side: sorted(name for name in features.files if name.startswith(f"cache|{side}|"))
        for side in ("query", "ref")
    }
    keys = {side: [n.split("|", 2)[2] + ".npy" for n in names[side]] for side in names}
    pairing = pair_by_name(keys["query"], keys["ref"])
    assert pairing.unmatched == 0
    queries = np.concatenate([features[name] for name in names["query"]])[pairing.queries]
    references = np.concatenate([features[name] for name in names["ref"]])
    found = ranks(queries, references, pairing.targets, ties="optimistic")
    by_name = {
        row["query"].removeprefix("query/").replace("/", "|"): row["rank"]
        for row in expected["ranks"]
    }
    assert found.tolist() == [by_name[keys["query"][row]] for row in pairing.queries]
    figures = retrieval_metrics(
        queries, references, pairing.targets, hits_at=[1, 10, 100], ties="optimistic"
    )
    for name in ("MRR", "Hit@1", "Hit@10", "Hit@100"):
        assert figures[name.lower()] == pytest.approx(expected["exact"][name], abs=1e-12)
    fair = retrieval_metrics(queries, references, pairing.targets, hits_at=[1])
    assert fair["mrr"] < figures["mrr"]  # the goldens hold exact ties


def test_pairs_by_id_leave_out_and_count_what_has_no_partner():
    pairing = pair_by_id(["pdmx/a", "pdmx/b.x", "pdmx/c"], ["pdmx/c", "pdmx/b.y", "pdmx/a"])
    assert pairing.queries.tolist() == [0, 2]
    assert [t.tolist() for t in pairing.targets] == [[2], [0]]
    assert pairing.unmatched == 1


def test_pairs_by_name_use_the_path_before_the_first_dot():
    pairing = pair_by_name(["a/s.v1.npy", "b/s.npy", "s.npy"], ["b/s.npy", "a/s.x.npy", "a/s.npy"])
    assert pairing.queries.tolist() == [0, 1]
    assert [t.tolist() for t in pairing.targets] == [[1, 2], [0]]
