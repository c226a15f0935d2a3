"""The contrastive objective."""

import torch
import torch.distributed.nn.functional as distributed
from torch import Tensor
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
    sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(_processes())]
    torch.distributed.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    largest = int(torch.cat(sizes).max())
    padded = functional.pad(rows, (0, 0, 0, largest - len(rows)))
    shares = distributed.all_gather(padded.contiguous())
    return torch.cat([share[: int(size)] for share, size in zip(shares, sizes, strict=True)])


def _processes() -> int:
    return torch.distributed.get_world_size()
