"""Pieces dealt into batches and padded, the same in every process and after every restart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

POOL_BATCHES = 50  # shuffled together before like lengths are put into one batch
GROUP_SHARE = 0.7  # of a group's longest sequence; a shorter one begins the next group


def shuffled_batches(
    count: int, batch_size: int, rng: np.random.Generator, smallest: int = 2
) -> list[list[int]]:
    """The numbers below `count` in random order, cut into batches.

    The last batch is left out if it has fewer than `smallest`, unless it is the only one.
    """
    order = rng.permutation(count).tolist()
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < smallest else batches


def bucketed_batches(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator
) -> list[list[int]]:
    """The places of `lengths` in batches of like length, batches in random order; none left out.

    Pools of 50 batches are drawn at random and sorted by length before they are cut, so little is
    padded and yet batches differ from epoch to epoch.
    """
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), POOL_BATCHES * batch_size):
        pool = order[start : start + POOL_BATCHES * batch_size]
        pool = pool[np.argsort(np.asarray(lengths)[pool], kind="stable")].tolist()
        batches += [pool[cut : cut + batch_size] for cut in range(0, len(pool), batch_size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def even_batches(count: int, batch_size: int) -> list[list[int]]:
    """The numbers below `count` in order, in as few batches as needed, all of about one size."""
    parts = -(-count // batch_size)
    return [part.tolist() for part in np.array_split(np.arange(count), parts)] if count else []


class Movable:
    """A dataclass with tensors, alone or in lists and further dataclasses."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same where a GPU can fetch it while it computes."""
        return _changed(self, Tensor.pin_memory)


def _changed(value: object, change: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if is_dataclass(value):
        return type(value)(*(_changed(getattr(value, own.name), change) for own in fields(value)))
    return value


@dataclass
class Padded(Movable):
    """Sequences [B, N, …] of the members `rows` [B] of a batch; `mask` [B, N] is 0 at padding."""

    rows: Tensor
    values: Tensor
    mask: Tensor


def pad(sequences: Sequence[np.ndarray], fill: int | float = 0) -> tuple[Tensor, Tensor]:
    """Sequences [N, …] as one tensor [B, longest N, …], and its mask [B, N], 0 at padding."""
    longest = max(len(sequence) for sequence in sequences)
    shape = (len(sequences), longest, *sequences[0].shape[1:])
    values = np.full(shape, fill, dtype=sequences[0].dtype)
    mask = np.zeros(shape[:2], dtype=np.int64)
    for row, sequence in enumerate(sequences):
        values[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.from_numpy(values), torch.from_numpy(mask)


def pad_groups(sequences: Sequence[np.ndarray], fill: int | float = 0) -> list[Padded]:
    """The sequences of a batch in groups of like length, so that little is computed on padding."""
    order = sorted(range(len(sequences)), key=lambda row: -len(sequences[row]))
    groups: list[list[int]] = []
    for row in order:
        if not groups or len(sequences[row]) < GROUP_SHARE * len(sequences[groups[-1][0]]):
            groups.append([])
        groups[-1].append(row)
    padded = [(rows, pad([sequences[row] for row in rows], fill)) for rows in groups]
    return [Padded(torch.tensor(rows), values, mask) for rows, (values, mask) in padded]


def encode_groups(encode: Callable[[Tensor, Tensor], Tensor], groups: Sequence[Padded]) -> Tensor:
    """The vectors [B, D] that `encode(values, mask)` gives for the groups of a batch, in order."""
    return in_order([encode(group.values, group.mask) for group in groups], groups)


def in_order(vectors: Sequence[Tensor], parts: Sequence[Padded]) -> Tensor:
    """The vectors [B, D] of a batch in its order, from those of its parts, which have `rows`."""
    return torch.cat(vectors)[torch.argsort(torch.cat([part.rows for part in parts]))]
