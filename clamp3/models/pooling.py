"""From rows to one vector: masked means, segments of long inputs and how they are put together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Segment(NamedTuple):
    """Rows `start:stop` of a long input; its last `weight` rows are in no earlier segment."""

    start: int
    stop: int
    weight: int


def segments(length: int, window: int) -> list[Segment]:
    """The segments that cover `length` rows with at most `window` rows each, in order.

    An input that does not fit is cut into full windows; where rows remain, the last segment is the
    trailing full window, which overlaps its predecessor, and its weight is the number of rows that
    remain. No rows give no segments.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    """
    if length < 0 or window < 1:
        raise ValueError(f"{length} rows in windows of {window}: expected >= 0 and >= 1")
    full = [
        Segment(start, start + window, window) for start in range(0, length - window + 1, window)
    ]
    rest = length % window
    if rest:
        full.append(Segment(max(0, length - window), length, rest))
    return full


def combine(vectors: torch.Tensor, weights: Sequence[int]) -> torch.Tensor:
    """The mean [D] of the segments' vectors [N, D], weighted by `Segment.weight`.

    The vectors are those of whole segments (pooled and projected), so the rows that two segments
    share count in both.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    """
    if len(vectors) != len(weights) or not len(weights):
        raise ValueError(f"{len(vectors)} vectors, {len(weights)} weights: expected as many, >= 1")
    shares = torch.as_tensor(weights, dtype=vectors.dtype, device=vectors.device)
    return (vectors * shares.unsqueeze(1)).sum(dim=0) / shares.sum()


def join_rows(hidden: Sequence[torch.Tensor], weights: Sequence[int]) -> torch.Tensor:
    """The hidden states [length, D] of a long input from those of its segments [rows, D].

    Of each segment its last `Segment.weight` rows are kept, so every row appears once.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    """
    return torch.cat([rows[-weight:] for rows, weight in zip(hidden, weights, strict=True)])


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean [B, D] of the rows of `hidden` [B, N, D] where `mask` [B, N] is not zero.

    A row of the batch without any real position gives zeros.
    """
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def add_silence(features: torch.Tensor) -> torch.Tensor:
    """The frames [F + 2, E] of a recording between one frame of zeros at each end.

    Axes before the last two are flattened: [layers, F, E] is read as layers * F frames.

    Source: sanderwood/clamp3@9016d2b code/extract_clamp3.py
    """
    rows = features.reshape(-1, features.shape[-1])
    silence = rows.new_zeros(1, rows.shape[1])
    return torch.cat([silence, rows, silence])
