"""Dealing and padding."""

import numpy as np
import pytest
import torch

from clamp3.training.batches import (
    bucketed_batches,
    encode_groups,
    even_batches,
    pad,
    pad_groups,
    shuffled_batches,
)


def _rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("count", "sizes"), [(10, [4, 4, 2]), (9, [4, 4]), (8, [4, 4]), (1, [1]), (0, [])]
)
def test_a_last_batch_of_one_is_left_out_unless_it_is_all(count, sizes):
    batches = shuffled_batches(count, 4, _rng())
    assert [len(batch) for batch in batches] == sizes
    dealt = sorted(member for batch in batches for member in batch)
    assert len(set(dealt)) == len(dealt)
    assert set(dealt) <= set(range(count))


def test_shuffling_follows_the_generator():
    assert shuffled_batches(50, 8, _rng(1)) == shuffled_batches(50, 8, _rng(1))
    assert shuffled_batches(50, 8, _rng(1)) != shuffled_batches(50, 8, _rng(2))


def test_buckets_leave_none_out_and_hold_like_lengths():
    lengths = _rng().integers(2, 512, size=1003).tolist()
    batches = bucketed_batches(lengths, 16, _rng(1))
    assert sorted(member for batch in batches for member in batch) == list(range(1003))
    padded = sum(len(batch) * max(lengths[m] for m in batch) for batch in batches)
    assert padded < 1.06 * sum(lengths)
    longest = [max(lengths[member] for member in batch) for batch in batches]
    assert longest != sorted(longest)
    assert batches != bucketed_batches(lengths, 16, _rng(2))
    assert bucketed_batches([], 16, _rng()) == []


@pytest.mark.parametrize(("count", "sizes"), [(9, [3, 3, 3]), (10, [4, 3, 3]), (3, [3]), (0, [])])
def test_even_batches_keep_the_order(count, sizes):
    batches = even_batches(count, 4)
    assert [len(batch) for batch in batches] == sizes
    assert [member for batch in batches for member in batch] == list(range(count))


def test_padding_fills_and_masks():
    values, mask = pad([np.ones((2, 3), np.uint8), np.ones((4, 3), np.uint8)], fill=7)
    assert values.dtype == torch.uint8
    assert values.shape == (2, 4, 3)
    assert (values[0, 2:] == 7).all()
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    flags, _ = pad([np.array([True]), np.array([False, True])])
    assert flags.tolist() == [[True, False], [False, True]]


def test_groups_give_each_member_its_own_vector():
    sequences = [np.arange(n, dtype=np.float32)[:, None] + n for n in (3, 90, 5, 4, 100, 1, 30)]
    groups = pad_groups(sequences)
    assert [len(group.rows) for group in groups] == [2, 1, 2, 1, 1]

    def mean(values, mask):
        return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    vectors = encode_groups(mean, [group.to("cpu") for group in groups])
    expected = [[sequence.mean()] for sequence in sequences]
    torch.testing.assert_close(vectors, torch.tensor(expected))
    computed = sum(group.mask.numel() for group in groups)
    assert computed < 1.2 * sum(len(sequence) for sequence in sequences)
