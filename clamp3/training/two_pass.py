"""Gradients of a batch of any size on a small device: the batch in chunks, each computed twice.

The first pass gives the embeddings of all chunks and keeps no graph. The loss over the whole batch
says what each embedding should change by. The second pass computes each chunk again, with graph,
and carries that back into the parameters. So one chunk's activations are in memory at a time, and
the gradients are those of the whole batch up to rounding.

Source: GradCache (Gao et al. 2021, arXiv 2101.06983, section 3.2)
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from clamp3.training.batches import Padded, encode_groups, in_order

RandomState = tuple[Tensor, Tensor | None]  # of the CPU, of the accelerator


@dataclass(frozen=True)
class Side:
    """What one tower reads of a batch, in groups of like length."""

    encode: Callable[[Tensor, Tensor], Tensor]  # values [B, N, …] and mask [B, N] to vectors [B, D]
    groups: Sequence[Padded]
    learns: bool  # whether the tower does

    @property
    def rows(self) -> Tensor:
        """The members [B] of the batch in the order of the groups."""
        return torch.cat([group.rows for group in self.groups])

    def vectors(self) -> Tensor:
        """The vectors [B, D] in the order of the batch; without gradient if nothing learns."""
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return encode_groups(self.encode, self.groups)

    def vectors_by_group(self) -> Tensor:
        """The vectors [B, D] in the order of `rows`."""
        return torch.cat([self.encode(group.values, group.mask) for group in self.groups])

    def split(self, size: int | None) -> list["Side"]:
        """The same in parts of `size` members (the last may have fewer); None: all in one."""
        parts: list[list[Padded]] = []
        room = 0
        for group in self.groups:
            start = 0
            while start < len(group.rows):
                if not room:
                    parts.append([])
                    room = size or sum(len(each.rows) for each in self.groups)
                piece = _cut(group, start, start + room)
                parts[-1].append(piece)
                start += len(piece.rows)
                room -= len(piece.rows)
        return [Side(self.encode, part, self.learns) for part in parts]


def vectors_in_chunks(side: Side, size: int | None) -> Tensor:
    """The vectors [B, D] of a side in the order of the batch, `size` members computed at once."""
    parts = side.split(size)
    return in_order([part.vectors_by_group() for part in parts], parts)


class TwoSidedTask(Protocol):
    """What a task needs for its batches to be computed in chunks."""

    log_scale: nn.Parameter | None  # takes part in the loss beside the embeddings

    def sides(self, batch: object) -> list[Side]:
        """What each tower reads of the batch."""

    def compare(self, vectors: Sequence[Tensor], batch: object, log_scale: Tensor | None) -> Tensor:
        """The loss over the batches of all processes, from the vectors [B, D] of each side."""


@dataclass
class Chunk:
    """A part of a batch in the second pass.

    Each of `sides` has the state of the random numbers that it was computed under, and the gradient
    [B, D] of the loss by its vectors; `others` are further parameters of the loss with theirs.
    """

    sides: list[tuple[Side, RandomState, Tensor]]
    others: list[tuple[Tensor, Tensor]]

    def surrogate(self) -> Tensor:
        """A scalar whose gradient by the parameters is this chunk's part of the loss's."""
        terms = []
        for side, state, gradient in self.sides:
            _set_random_state(state)
            terms.append((side.vectors_by_group().float() * gradient).sum())
        terms += [(parameter * gradient).sum() for parameter, gradient in self.others]
        return torch.stack(terms).sum()


def backward_in_chunks(
    task: TwoSidedTask,
    objective: Callable[[Chunk], Tensor],
    batch: object,
    size: int,
    accelerator: Accelerator,
) -> Tensor:
    """The loss of a batch, after its gradients were added to those of the parameters.

    `objective` gives `chunk.surrogate()` through the module that synchronises gradients, which it
    does once, at the last chunk. Each chunk has `size` members; dropout is the same in both passes.
    """
    drafts = [_first_pass(side.split(size), accelerator) for side in task.sides(batch)]
    scale = _leaf(task.log_scale)
    # Gradients are wanted of the vectors, whether or not their tower learns.
    vectors = [_leaf(draft.vectors) for draft in drafts]
    loss = task.compare(vectors, batch, scale)
    loss.backward()
    learning = [
        draft.with_gradients(rows.grad)
        for draft, rows in zip(drafts, vectors, strict=True)
        if draft.parts[0].learns
    ]
    chunks = [Chunk(list(sides), []) for sides in zip(*learning, strict=True)]
    if scale is not None:
        chunks[-1].others.append((task.log_scale, scale.grad))
    for chunk in chunks:
        last = chunk is chunks[-1]
        with nullcontext() if last else accelerator.no_sync(objective):
            accelerator.backward(objective(chunk))
    return loss.detach()


@dataclass
class _Draft:
    """One side after the first pass: parts, random states before them, vectors of the batch."""

    parts: list[Side]
    states: list[RandomState]
    vectors: Tensor

    def with_gradients(self, gradient: Tensor) -> list[tuple[Side, RandomState, Tensor]]:
        return [
            (part, state, gradient[part.rows])
            for part, state in zip(self.parts, self.states, strict=True)
        ]


def _first_pass(parts: list[Side], accelerator: Accelerator) -> _Draft:
    states, vectors = [], []
    for part in parts:
        states.append(_random_state(accelerator.device))
        with torch.no_grad(), accelerator.autocast():
            vectors.append(part.vectors_by_group().float())
    return _Draft(parts, states, in_order(vectors, parts))


def _leaf(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach().clone().requires_grad_()


def _cut(group: Padded, start: int, stop: int) -> Padded:
    return Padded(group.rows[start:stop], group.values[start:stop], group.mask[start:stop])


def _random_state(device: torch.device) -> RandomState:
    module = torch.get_device_module(device)
    return torch.get_rng_state(), None if device.type == "cpu" else module.get_rng_state()


def _set_random_state(state: RandomState) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module().set_rng_state(state[1])
