"""Splits are dealt by the id alone."""

from collections import Counter

import pytest

from clamp3.config import Splits
from clamp3.data.splits import split_of

IDS = [f"pdmx/Qm{number}" for number in range(20_000)]


def deal(validation_share: float, test_share: float, seed: int = 42) -> list[str]:
    splits = Splits(validation_share=validation_share, test_share=test_share)
    return [split_of(piece_id, splits, seed) for piece_id in IDS]


def test_the_shares_hold_on_average():
    counts = Counter(deal(0.06, 0.2))
    assert counts["test"] / len(IDS) == pytest.approx(0.2, abs=0.01)
    assert counts["validation"] / len(IDS) == pytest.approx(0.06, abs=0.01)
    assert set(counts) == {"train", "validation", "test"}


def test_a_share_of_nothing_is_nothing():
    assert set(deal(0, 0)) == {"train"}
    assert "validation" not in deal(0, 0.5)


def test_growing_the_validation_split_takes_from_training_only():
    for before, after in zip(deal(0.05, 0.2), deal(0.3, 0.2), strict=True):
        assert (before == "test") == (after == "test")
        assert after == "validation" or before == after


def test_another_seed_deals_anew():
    first, second = deal(0.06, 0.2, seed=1), deal(0.06, 0.2, seed=2)
    both = sum(a == b == "test" for a, b in zip(first, second, strict=True))
    assert both / len(IDS) == pytest.approx(0.2 * 0.2, abs=0.01)


def test_the_split_of_a_piece_stays_for_ever():
    splits = Splits(validation_share=0.06, test_share=0.2)
    known = [split_of(f"pdmx/Qm{number}", splits, 42) for number in range(12)]
    expected = "test train test test validation train train validation train test train train"
    assert known == expected.split()
