"""A piece has one part, and every part has a name."""

from collections import Counter

import pytest

from clamp3.data.shards import part_names, shard_of


def test_every_part_gets_its_share():
    counts = Counter(shard_of(f"pdmx/Qm{number}", 4) for number in range(8_000))
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(count == pytest.approx(2_000, abs=200) for count in counts.values())


def test_one_part_holds_all():
    assert {shard_of(f"pdmx/{number}", 1) for number in range(50)} == {0}


def test_the_part_of_a_piece_stays_for_ever():
    assert [shard_of(f"pdmx/Qm{number}", 64) for number in range(6)] == [2, 18, 13, 49, 48, 3]


def test_names_are_in_order_and_tell_how_many_there_are():
    assert part_names(2) == ["part-00000-of-00002.parquet", "part-00001-of-00002.parquet"]
    names = part_names(120)
    assert names == sorted(names)
    assert len(set(names)) == 120
