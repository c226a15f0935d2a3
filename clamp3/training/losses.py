"""The contrastive objective."""

import math

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

LARGEST_SCALE = 100.0  # CLIP, section 2.5


def bounded_scale(log_scale: Tensor) -> Tensor:
    """The scale of a logarithm that is learned, which itself is set back to log 100 if above it.

    Source: CLIP (arXiv 2103.00020, section 2.5)
    """
    with torch.no_grad():
        log_scale.clamp_(max=math.log(LARGEST_SCALE))
    return log_scale.exp()


def contrastive_loss(
    queries: Tensor,
    references: Tensor,
    scale: float | Tensor = 1.0,
    similarity: str = "dot",
    *,
    keys: Tensor | None = None,
    across_processes: bool = False,
) -> Tensor:
    """How badly queries [B, D] and references [B, D] of one row find each other, both ways: scalar.

    The mean of two cross-entropies over `scale` times the similarities: each query against all
    references, each reference against all queries. A batch of one costs nothing and teaches
    nothing. Two rows i ≠ j with the same number in `keys` [B] (int64) are not told apart: query i
    is not set against reference j, nor j against i. `across_processes` takes the rows of all
    processes, with gradient; then every process gets the same loss, and averaging parameter
    gradients over the processes (as DDP does) gives exactly the gradient of one process with the
    whole batch.

    Source: sanderwood/clamp3@9016d2b code/utils.py (ClipLoss).
    Differs: cosine on request; the loss is not divided by the number of processes once more,
    because that made parameter gradients too small by that factor; similarities are computed in
    fp32 under autocast too, because raw dot products are large and their differences count.
    """
    if across_processes:
        queries, references = _all_rows(queries), _all_rows(references)
        keys = None if keys is None else _all_rows(keys)
    if similarity == "cosine":
        queries = functional.normalize(queries, dim=-1)
        references = functional.normalize(references, dim=-1)
    with torch.autocast(queries.device.type, enabled=False):
        logits = scale * queries.float() @ references.float().T
        own = torch.arange(len(logits), device=logits.device)
        if keys is not None:
            alike = (keys[:, None] == keys).fill_diagonal_(False)
            logits = logits.masked_fill(alike, -torch.inf)
        towards = functional.cross_entropy(logits, own)
        back = functional.cross_entropy(logits.T, own)
    return (towards + back) / 2


def _all_rows(rows: Tensor) -> Tensor:
    """The rows of every process in the order of the processes, whose shares may differ in size."""
    sizes = [
        torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(dist.get_world_size())
    ]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    counts = torch.cat(sizes).tolist()
    missing = rows.new_zeros(max(counts) - len(rows), *rows.shape[1:])
    padded = torch.cat([rows, missing])
    shares = _Gather.apply(padded.contiguous())
    return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """The rows [B, …] of all processes [processes, B, …]; gradients come back from all of them."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        shares = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, rows)
        return torch.stack(shares)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        dist.all_reduce(total)
        return total[dist.get_rank()]
