"""Figures against plain loops, the originals' results, and what must hold of them."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from retrieval.rankings import placed

from clamp3.retrieval.evaluation.metrics import Ties, chance_levels, summarise
from clamp3.retrieval.evaluation.ranking import rank_groups, with_ties
from clamp3.retrieval.keys import NO_KEY, group, name_key


def vectors(rows: int, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def figures(queries, references, targets, hits_at=(1, 5, 10), ties: Ties = "mean") -> dict:
    ranking = placed(np.asarray(queries), np.asarray(references), targets).ranking
    return summarise(with_ties(ranking, ties), hits_at)


def test_figures_with_ties_are_means_over_all_orders_of_the_tied():
    references = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [-1, 0]])
    queries = np.array([[1.0, 0.1], [0.2, 1]])
    targets = [1, 1]  # level with 0 and 2; for the second query behind 3
    places = [list(itertools.permutations([1, 2, 3])), list(itertools.permutations([2, 3, 4]))]
    reciprocal = np.mean([np.mean([1 / order[0] for order in orders]) for orders in places])
    hits = np.mean([np.mean([order[0] <= 2 for order in orders]) for orders in places])
    found = figures(queries, references, targets, hits_at=[2])
    assert found["mrr"] == pytest.approx(reciprocal)
    assert found["hit@2"] == pytest.approx(hits)
    assert placed(queries[:1], references, [1]).ranking.ranks.tolist() == [2]
    assert placed(queries[1:], references, [1]).ranking.ranks.tolist() == [3]


def test_identical_vectors_are_found_first():
    same = vectors(25)
    found = figures(same, same, np.arange(25), hits_at=[1])
    assert found["mrr"] == found["hit@1"] == found["median_rank"] == 1


def test_permuting_both_sides_changes_nothing():
    queries, references = vectors(20), vectors(20, seed=1)
    order, other = (
        np.random.default_rng(2).permutation(20),
        np.random.default_rng(3).permutation(20),
    )
    place = np.argsort(other)  # where each reference went
    direct = figures(queries, references, np.arange(20))
    shuffled = figures(queries[order], references[other], place[order])
    assert shuffled.pop("chance") == direct.pop("chance")
    assert shuffled == pytest.approx(direct)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_collapsed_model_scores_chance(noise: float):
    queries = np.ones((40, 8)) + noise * vectors(40)
    found = figures(queries, queries, np.arange(40), hits_at=[1, 10])
    assert found["mrr"] == pytest.approx(sum(1 / n for n in range(1, 41)) / 40)
    assert found["hit@10"] == pytest.approx(10 / 40)
    assert found["median_rank"] == 20.5
    for name, level in found["chance"].items():
        assert found[name] == pytest.approx(level)
    assert figures(queries, queries, np.arange(40), ties="optimistic")["mrr"] == 1


def test_zero_vectors_are_level_with_everything_at_right_angles():
    assert placed(np.zeros((1, 3)), np.eye(3), [0]).ranking.ranks.tolist() == [2]


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
    found = rank_groups(np.array([[1.0, 0.01]]), references, group(["a"], ["x", "a", "a", "y"]))
    assert found.ranking.ranks.tolist() == [2]
    found = rank_groups(np.array([[0.0, 1]]), references, group(["a"], ["x", "a", "a", "a"]))
    assert found.ranking.ranks.tolist() == [1]


def test_the_originals_ranks_and_figures(goldens: Path):
    expected = json.loads((goldens / "models/retrieval.json").read_text(encoding="utf-8"))["eval"]
    features = np.load(goldens / "models/retrieval_features.npz")
    names = {
        side: sorted(name for name in features.files if name.startswith(f"cache|{side}|"))
        for side in ("query", "ref")
    }
    ids = {side: [n.split("|", 2)[2] + ".npy" for n in names[side]] for side in names}
    groups = group(*([name_key(name) for name in ids[side]] for side in ("query", "ref")))
    assert (groups.queries >= 0).all()
    queries = np.concatenate([features[name] for name in names["query"]])
    references = np.concatenate([features[name] for name in names["ref"]])
    found = rank_groups(queries, references, groups).ranking
    by_name = {
        row["query"].removeprefix("query/").replace("/", "|"): row["rank"]
        for row in expected["ranks"]
    }
    optimistic = with_ties(found, "optimistic")
    assert optimistic.ranks.tolist() == [by_name[name] for name in ids["query"]]
    figures = summarise(optimistic, [1, 10, 100])
    for name in ("MRR", "Hit@1", "Hit@10", "Hit@100"):
        assert figures[name.lower()] == pytest.approx(expected["exact"][name], abs=1e-12)
    assert summarise(found, [1])["mrr"] < figures["mrr"]  # the goldens hold exact ties


def test_names_are_told_apart_by_the_path_before_the_first_dot():
    names = ["a/s.v1.npy", "a/s.x.npy", "b.c/s.npy", "s.npy", "a/.npy"]
    assert [name_key(name) for name in names] == ["a/s", "a/s", "b.c/s", "s", "a/"]
    groups = group(["a/s", "b/s", "s"], ["b/s", "a/s", "a/s"])
    assert groups.queries.tolist() == [1, 0, NO_KEY]
    assert [rows.tolist() for rows in groups.members()] == [[0], [1, 2]]
