"""The same numbers everywhere."""

import numpy as np

from clamp3.randomness import generator, stable_fraction, stable_hash


def test_hashes_never_change():
    """A change here would deal every corpus to other splits and shards."""
    assert stable_hash("pdmx/a", "split", 42) == 4275148271995058592
    assert stable_hash("ü") != stable_hash("u")


def test_keys_are_kept_apart():
    assert stable_hash("ab", "c") != stable_hash("a", "bc")
    assert stable_hash("1") != stable_hash(1)


def test_fractions_are_uniform():
    drawn = np.array([stable_fraction(f"piece {i}") for i in range(4000)])
    assert 0 <= drawn.min() < 0.01
    assert 0.99 < drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.02


def test_generators_depend_on_their_keys_alone():
    assert generator(1, "a").random() == generator(1, "a").random()
    assert generator(1, "a").random() != generator(2, "a").random()
