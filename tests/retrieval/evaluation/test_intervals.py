"""Bootstrap intervals and the paired test: against plain loops, by simulation, at the edges."""

from statistics import NormalDist

import numpy as np
import pytest

from clamp3.retrieval.evaluation import intervals
from clamp3.retrieval.evaluation.intervals import mean_intervals, median_interval, paired_difference


def reciprocal_ranks(draws: np.random.Generator, rows: int) -> np.ndarray:
    return 1 / draws.geometric(0.3, rows)


def covered(sets: int, rows: int, per_cluster: int) -> float:
    """The share of simulated sets whose interval holds the true mean."""
    truth = float(np.sum(0.3 * 0.7 ** np.arange(2000) / np.arange(1, 2001)))
    draws = np.random.default_rng(7)
    inside = 0
    for _ in range(sets):
        values = np.repeat(reciprocal_ranks(draws, rows), per_cluster)
        clusters = np.repeat(np.arange(rows), per_cluster)
        low, high = mean_intervals(values[:, None], clusters)[0]
        inside += low <= truth <= high
    return inside / sets


def test_intervals_cover_the_truth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 1000)
    assert 0.90 <= covered(300, rows=60, per_cluster=1) <= 0.99


def test_queries_of_one_key_do_not_count_as_independent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 1000)
    assert 0.90 <= covered(300, rows=60, per_cluster=4) <= 0.99
    values = np.repeat(reciprocal_ranks(np.random.default_rng(0), 60), 4)
    together = mean_intervals(values[:, None], np.repeat(np.arange(60), 4))[0]
    alone = mean_intervals(values[:, None], np.arange(240))[0]
    assert together[1] - together[0] > 1.7 * (alone[1] - alone[0])


def test_the_median_covers_the_truth(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    draws = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        low, high = median_interval(draws.standard_normal(41), np.arange(41))
        inside += low <= 0 <= high
    assert 0.90 <= inside / 300 <= 0.99


def test_resamples_of_unequal_clusters_equal_a_plain_loop():
    values, clusters = np.array([1.0, 2, 10, 4, 7, 3]), np.array([5, 5, 1, 2, 2, 2])
    counts = np.concatenate(list(intervals._resamples(3, seed=0)))
    means, medians = [], []
    for drawn in counts:
        rows = [v for name, n in zip([1, 2, 5], drawn, strict=True) for _ in range(n)
                for v in values[clusters == name]]  # fmt: skip
        means.append(np.mean(rows))
        medians.append(np.median(rows))
    assert counts.shape == (intervals.RESAMPLES, 3)
    assert (counts.sum(axis=1) == 3).all()
    tails = np.quantile(medians, [0.025, 0.975])
    assert median_interval(values, clusters) == pytest.approx(tuple(tails))
    low, high = mean_intervals(values[:, None], clusters)[0]
    assert min(means) <= low <= values.mean() <= high <= max(means)


def test_the_accelerated_interval_equals_its_textbook_form():
    values = reciprocal_ranks(np.random.default_rng(5), 25) ** 3
    counts = np.concatenate(list(intervals._resamples(25, seed=0)))
    drawn = sorted(sum(n * v for n, v in zip(row, values, strict=True)) / 25 for row in counts)
    normal = NormalDist()
    bias = normal.inv_cdf(sum(mean < values.mean() for mean in drawn) / len(drawn))
    without = [np.delete(values, row).mean() for row in range(25)]
    spread = [np.mean(without) - mean for mean in without]
    skew = sum(s**3 for s in spread) / (6 * sum(s**2 for s in spread) ** 1.5)
    assert abs(bias) > 0.01
    assert skew > 0.01
    ends = []
    for tail in (0.025, 0.975):
        z = bias + normal.inv_cdf(tail)
        ends.append(np.quantile(drawn, normal.cdf(bias + z / (1 - skew * z))))
    found = mean_intervals(values[:, None], np.arange(25))[0]
    assert found == pytest.approx(tuple(ends), abs=1e-4)
    assert found != pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    values = reciprocal_ranks(np.random.default_rng(0), 50)[:, None]
    whole = mean_intervals(values, np.arange(50)), median_interval(values[:, 0], np.arange(50))
    test = paired_difference(values[:, 0], values[::-1, 0] + 0.02, np.arange(50))
    monkeypatch.setattr(intervals, "BLOCK_NUMBERS", 330)
    parts = mean_intervals(values, np.arange(50)), median_interval(values[:, 0], np.arange(50))
    assert whole[0][0] == pytest.approx(parts[0][0], abs=1e-12)
    assert whole[1] == parts[1]
    again = paired_difference(values[:, 0], values[::-1, 0] + 0.02, np.arange(50))
    assert again.p_value == test.p_value
    assert again.interval == pytest.approx(test.interval, abs=1e-12)


def test_what_cannot_vary_has_no_width_and_one_cluster_no_interval():
    assert mean_intervals(np.ones((5, 1)), np.arange(5)) == [(1.0, 1.0)]
    assert mean_intervals(np.ones((5, 2)), np.zeros(5)) == [None, None]
    assert median_interval(np.arange(5.0), np.zeros(5)) is None
    assert median_interval(np.zeros(0), np.zeros(0)) is None


def test_when_all_hit_the_interval_says_how_many_were_asked():
    ends = mean_intervals(np.stack([np.ones(30), np.zeros(30)], 1), np.arange(30), shares=True)
    assert ends[0] == (pytest.approx(0.025 ** (1 / 30)), 1)  # 30 hits of 30 at 88 %: 1 time in 40
    assert ends[1] == (0, pytest.approx(1 - 0.025 ** (1 / 30)))
    some = np.repeat([0.0, 1.0], [3, 27])[:, None]
    assert mean_intervals(some, np.arange(30), shares=True) == mean_intervals(some, np.arange(30))


def test_a_skewed_mean_has_a_skewed_interval():
    values = np.zeros(200)
    values[:4] = 1
    low, high = mean_intervals(values[:, None], np.arange(200))[0]
    assert high - 0.02 > 0.02 - low > 0


def test_the_paired_test_holds_its_level_and_finds_what_is_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(intervals, "FLIPS", 499)
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    draws = np.random.default_rng(1)
    false_alarms = 0
    for _ in range(200):
        both = reciprocal_ranks(draws, 40), reciprocal_ranks(draws, 40)
        false_alarms += paired_difference(*both, np.arange(40)).p_value <= 0.05
    assert false_alarms / 200 <= 0.09
    better = paired_difference(
        both[0], both[0] + 0.1 + 0.05 * draws.standard_normal(40), np.arange(40)
    )
    assert better.p_value == 1 / 500
    assert better.interval[0] > 0.05
    assert better.mean == pytest.approx(0.1, abs=0.03)


def test_the_p_value_equals_every_exchange_of_a_small_set():
    first, second = (
        np.array([0.1, 0.5, 0.3, 0.2, 0.9, 0.4]),
        np.array([0.3, 0.6, 0.2, 0.7, 1, 0.45]),
    )
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    exact = np.mean(np.abs(signs @ (second - first)) >= abs((second - first).sum()) - 1e-12)
    found = paired_difference(first, second, np.arange(6))
    assert found.p_value == pytest.approx(exact, abs=0.02)
    assert paired_difference(first, first, np.arange(6)).p_value == 1
