"""Segments of long inputs, and how vectors are put together."""

import subprocess
import sys

import pytest
import torch

from clamp3.models.pooling import (
    Segment,
    add_silence,
    combine,
    join_rows,
    masked_mean,
    segments,
)


def listed(length, window):
    """Segments and weights found by slicing a list."""
    rows = list(range(length))
    parts = [rows[start : start + window] for start in range(0, length, window)]
    parts[-1] = rows[-window:]
    weights = [window] * (length // window) + [length % window] * bool(length % window)
    return [Segment(p[0], p[-1] + 1, w) for p, w in zip(parts, weights, strict=True)]


@pytest.mark.parametrize("window", [1, 2, 5, 16])
@pytest.mark.parametrize("length", [1, 4, 5, 6, 9, 10, 11, 15, 16, 17, 31, 32, 33, 100])
def test_segments_are_slices_and_the_last_is_the_trailing_window(length, window):
    assert segments(length, window) == listed(length, window)


def test_segments_by_hand():
    assert segments(0, 4) == []
    assert segments(3, 4) == [(0, 3, 3)]
    assert segments(8, 4) == [(0, 4, 4), (4, 8, 4)]
    assert segments(9, 4) == [(0, 4, 4), (4, 8, 4), (5, 9, 1)]


@pytest.mark.parametrize(("length", "window"), [(-1, 4), (3, 0)])
def test_segments_refuse_nonsense(length, window):
    with pytest.raises(ValueError, match=f"{length} rows in windows of {window}"):
        segments(length, window)


def test_combine_weighs_the_segments():
    vectors = torch.tensor([[1.0, 0.0], [3.0, 8.0]])
    torch.testing.assert_close(combine(vectors, [3, 1]), torch.tensor([1.5, 2.0]))
    torch.testing.assert_close(combine(vectors[:1], [7]), vectors[0])
    with pytest.raises(ValueError, match="2 vectors, 1 weights"):
        combine(vectors, [1])
    with pytest.raises(ValueError, match="0 vectors, 0 weights"):
        combine(vectors[:0], [])


@pytest.mark.parametrize(("length", "window"), [(3, 8), (8, 8), (20, 8), (24, 8)])
def test_joined_rows_are_all_rows_once(length, window):
    rows = torch.arange(length).unsqueeze(1)
    plan = segments(length, window)
    parts = [rows[s.start : s.stop] for s in plan]
    assert torch.equal(join_rows(parts, [s.weight for s in plan]), rows)


def test_masked_mean_sees_real_rows_only():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]]).repeat(3, 1, 1)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    expected = torch.tensor([[2.0, 3.0], [1.0, 2.0], [0.0, 0.0]])
    for kind in (torch.int64, torch.bool, torch.float32):
        torch.testing.assert_close(masked_mean(hidden, mask.to(kind)), expected)


def test_silence_stands_around_the_frames():
    frames = torch.ones(3, 2)
    around = add_silence(frames)
    assert around.tolist() == [[0, 0], [1, 1], [1, 1], [1, 1], [0, 0]]
    assert torch.equal(add_silence(frames[None]), around)
    assert add_silence(torch.ones(2, 3, 4, dtype=torch.float16)).shape == (8, 4)


def test_pooling_does_not_import_transformers():
    code = "import sys, clamp3.models.pooling; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
