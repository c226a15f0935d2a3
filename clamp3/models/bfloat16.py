"""bfloat16 on a CPU that computes with it: the same towers, with weights laid out for its kernels.

Three quarters of such a CPU's speed are had without this: the rest goes to weights that are laid
out anew at each call, biases that are copied into results, GELU as a pass of its own, and an
attention that turns every tile to float32 and back.
"""

import logging

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    BertModel,
    XLMRobertaModel,
)
from transformers.activations import GELUActivation
from transformers.masking_utils import sdpa_mask

log = logging.getLogger(__name__)
TILE = 2**20  # attention weights made at once: they stay in the caches
ATTENTION = "clamp3_tiles"
ROWS = 4096  # that the layout is made for; any number can be computed


def suit_cpu(model: nn.Module) -> None:
    """Make the transformers of a bfloat16 model on the CPU faster; all else stays as it is.

    Results differ by rounding. The model can compute afterwards, but not be saved or trained.
    """
    weight = next(model.parameters())
    if (weight.device.type, weight.dtype) != ("cpu", torch.bfloat16) or not can_pack():
        return
    for encoder in _transformers(model):
        encoder.set_attn_implementation(ATTENTION)
        for layer in encoder.encoder.layer:
            _pack(layer)


def can_pack() -> bool:
    """Whether this CPU multiplies bfloat16 and this torch lays weights out for it."""
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        made = PackedLinear(nn.Linear(8, 8, dtype=torch.bfloat16))(torch.ones(1, 8).bfloat16())
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        log.info("bf16 goes its plain way: this torch has no packed weights (%s)", error)
        return False
    return made.shape == (1, 8)


class PackedLinear(nn.Module):
    """A linear layer in the layout of the CPU's kernels; with `gelu` that is applied, too."""

    def __init__(self, linear: nn.Linear, *, gelu: bool = False):
        super().__init__()
        weight = linear.weight.detach().contiguous()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.then = "gelu" if gelu else "none"

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., D] to [..., E]."""
        return torch.ops.mkldnn._linear_pointwise(
            rows, self.packed, self.bias, self.then, [], "none"
        )


def tiled_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention [B, N, H, d] of queries, keys and values [B, H, N, d], some heads at a time.

    `attention_mask` [B, 1, N, N] is false where nothing is to be seen. With several threads torch's
    own attention is taken: threads that wait for each other after each tile lose more than is won.
    """
    if torch.get_num_threads() > 1:
        found = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=scaling
        )
        return found.transpose(1, 2), None
    batch, heads, rows, size = query.shape
    query = query * (size**-0.5 if scaling is None else scaling)
    made = query.new_empty(batch, rows, heads, size)
    together = max(1, TILE // rows**2)
    several = max(1, together // heads)
    for first in range(0, batch, several):
        own = slice(first, first + several)
        hidden = None if attention_mask is None else ~attention_mask[own]
        for head in range(0, heads, together):
            tile = (own, slice(head, head + together))
            weights = query[tile] @ key[tile].transpose(-1, -2)
            if hidden is not None:
                weights.masked_fill_(hidden, -torch.inf)
            found = functional.softmax(weights, dim=-1) @ value[tile]
            made[own, :, tile[1]] = found.transpose(1, 2)
    return made, None


def _transformers(model: nn.Module) -> list[nn.Module]:
    """The BERTs and XLM-Rs in the model."""
    return [m for m in model.modules() if isinstance(m, BertModel | XLMRobertaModel)]


def _pack(layer: nn.Module) -> None:
    """Replace the linear layers of one layer of a transformer."""
    if isinstance(layer.intermediate.intermediate_act_fn, GELUActivation):
        layer.intermediate.dense = PackedLinear(layer.intermediate.dense, gelu=True)
        layer.intermediate.intermediate_act_fn = nn.Identity()
    linears = [(n, m) for n, m in layer.named_modules() if isinstance(m, nn.Linear)]
    for name, linear in linears:
        parent, _, own = name.rpartition(".")
        setattr(layer.get_submodule(parent), own, PackedLinear(linear))


AttentionInterface.register(ATTENTION, tiled_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
