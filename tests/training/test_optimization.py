"""What learns, how fast, and with how much dropout, in the real models."""

import pytest
import torch
from small_corpus import clamp_settings, lora_settings, m3_settings, training

from clamp3.models.clamp import build_clamp
from clamp3.models.lora import add_lora
from clamp3.models.m3 import M3Model
from clamp3.models.tokenizer import train_tokenizer
from clamp3.training.clamp import _with_audio
from clamp3.training.optimization import make_optimizer, set_dropout


@pytest.fixture
def clamp():
    torch.manual_seed(0)
    words = train_tokenizer(["a reel in G major"], 40)
    model = build_clamp(clamp_settings(), words, architecture=m3_settings().architecture)
    return _with_audio(model, clamp_settings(), 24)


def _batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(4, 120, (2, 8, 64), generator=generator), torch.ones(2, 8)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_dropout_reaches_every_part_of_a_model(share, clamp):
    """Without dropout training and evaluation compute the same; with it they do not."""
    patches, mask = _batch()
    m3 = M3Model(m3_settings().architecture)
    tokens, frames = torch.randint(4, 20, (2, 8)), torch.randn(2, 6, 24)
    compute = [
        lambda: m3.encoder(patches, mask),
        lambda: m3.decoder(torch.ones(8, 64), patches[0]),
        lambda: clamp.encode_text(tokens, mask),
        lambda: clamp.encode_symbolic(patches, mask),
        lambda: clamp.encode_audio(frames, mask[:, :6]),
    ]
    for model in (m3, clamp):
        set_dropout(model, share)
    for values in compute:
        for model in (m3, clamp):
            model.eval()
        expected = values()
        for model in (m3, clamp):
            model.train()
        assert torch.allclose(values(), expected, atol=1e-5) is (share == 0)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_keeps_its_own_dropout(clamp):
    set_dropout(add_lora(clamp, lora_settings()), 0.0)
    shares = {
        ("lora_" in name, module.p)
        for name, module in clamp.named_modules()
        if isinstance(module, torch.nn.Dropout)
    }
    assert shares == {(True, 0.1), (False, 0.0)}


def test_only_matrices_decay():
    model = M3Model(m3_settings().architecture)
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    groups = make_optimizer(learning, training(weight_decay=0.3)).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in learning.values() if p.ndim >= 2}
    assert sum(len(group["params"]) for group in groups) == len(learning)
