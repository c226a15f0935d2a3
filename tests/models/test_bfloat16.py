"""Faster bfloat16 on the CPU: the same numbers as without, up to its own rounding."""

import copy

import pytest
import torch
from torch.nn import functional
from transformers import BertConfig, BertModel

from clamp3.models import bfloat16
from clamp3.models.bfloat16 import PackedLinear, can_pack, suit_cpu, tiled_attention

packs = pytest.mark.skipif(not can_pack(), reason="this CPU does not multiply bfloat16")


def bert(activation="gelu"):
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=1,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=70,
        hidden_act=activation,
        initializer_range=0.2,
    )
    return BertModel(sizes, add_pooling_layer=False).eval()


def hidden(model, rows, mask):
    rows = rows.to(model.embeddings.LayerNorm.weight.dtype)
    with torch.inference_mode():
        return model(inputs_embeds=rows, attention_mask=mask).last_hidden_state.float()


@packs
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 7), (5, 33), (3, 70)])
def test_it_is_as_near_to_float32_as_plain_bfloat16(activation, batch, length):
    model = bert(activation)
    plain = copy.deepcopy(model).to(torch.bfloat16)
    fast = copy.deepcopy(plain)
    suit_cpu(fast)
    assert any(isinstance(part, PackedLinear) for part in fast.modules())
    rows = torch.randn(batch, length, 64)
    lengths = torch.arange(batch) % length + 1
    mask = (torch.arange(length) >= length - lengths[:, None]).long()
    for seen in (None, mask):
        real = torch.ones_like(mask).bool() if seen is None else seen.bool()
        right = hidden(model, rows, seen)[real]
        off = (hidden(plain, rows, seen)[real] - right).abs()
        found = (hidden(fast, rows, seen)[real] - right).abs()
        assert found.mean() < 1.2 * off.mean() + 1e-4
        assert found.max() < 2 * off.max() + 1e-2


@packs
def test_padding_changes_nothing():
    model = bert().to(torch.bfloat16)
    suit_cpu(model)
    rows = torch.randn(1, 9, 64)
    padded = functional.pad(rows, (0, 0, 0, 20), value=7.0)
    mask = (torch.arange(29) < 9).long()[None]
    found = hidden(model, padded, mask)[:, :9]
    assert torch.allclose(found, hidden(model, rows, None), atol=0.05)


@pytest.mark.parametrize("tile", [1, 100, 300, 900, 2**20])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_of_any_size_make_the_attention(monkeypatch, threads, tile, masked):
    monkeypatch.setattr(bfloat16, "TILE", tile)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(1)
    query, key, value = (torch.randn(5, 3, 10, 4) for _ in range(3))
    mask = torch.rand(5, 1, 10, 10) < 0.6 if masked else None
    if masked:
        mask[..., 0] = True
    found, _ = tiled_attention(None, query, key, value, mask)
    right = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(found, right.transpose(1, 2), atol=1e-5)
    half, _ = tiled_attention(None, query, key, value, mask, scaling=0.25)
    right = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=0.25)
    assert torch.allclose(half, right.transpose(1, 2), atol=1e-5)


def test_float32_and_float16_stay_as_they_are():
    for dtype in (torch.float32, torch.float16):
        model = bert().to(dtype)
        suit_cpu(model)
        assert not any(isinstance(part, PackedLinear) for part in model.modules())
        assert model.config._attn_implementation == "sdpa"


def test_a_torch_without_packed_weights_goes_its_plain_way(monkeypatch):
    def refuses(*_):
        raise NotImplementedError("no such kernel")

    monkeypatch.setattr(bfloat16.PackedLinear, "__init__", refuses)
    model = bert().to(torch.bfloat16)
    suit_cpu(model)
    assert isinstance(model.encoder.layer[0].intermediate.dense, torch.nn.Linear)
