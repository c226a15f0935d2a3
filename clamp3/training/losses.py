"""The contrastive objective."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional


def contrastive_loss(
    queries: Tensor,
    references: Tensor,
    scale: float = 1.0,
    similarity: str = "dot",
    *,
    across_processes: bool = False,
) -> Tensor:
    """How badly queries [B, D] and references [B, D] of one row find each other, both ways: scalar.

    The mean of two cross-entropies over `scale` times the similarities: each query against all
    references, each reference against all queries. A batch of one costs nothing and teaches
    nothing. `across_processes` takes the rows of all processes, with gradient; then every
    process gets the same loss, and averaging parameter gradients over the processes (as DDP
    does) gives exactly the gradient of one process with the whole batch.

    Source: sanderwood/clamp3@9016d2b code/utils.py (ClipLoss).
    Differs: cosine on request; the loss is not divided by the number of processes once more,
    because that made parameter gradients too small by that factor; similarities are computed in
    fp32 under autocast too, because raw dot products are large and their differences count.
    """
    if across_processes:
        queries, references = _all_rows(queries), _all_rows(references)
    if similarity == "cosine":
        queries = functional.normalize(queries, dim=-1)
        references = functional.normalize(references, dim=-1)
    with torch.autocast(queries.device.type, enabled=False):
        logits = scale * queries.float() @ references.float().T
        own = torch.arange(len(logits), device=logits.device)
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
    padded = functional.pad(rows, (0, 0, 0, max(counts) - len(rows)))
    shares = _Gather.apply(padded.contiguous())
    return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)])


class _Gather(torch.autograd.Function):
    """The rows [B, D] of all processes [processes, B, D]; gradients come back from all of them."""

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
