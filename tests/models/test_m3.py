"""M3: the recorded forward passes, and the fast parts against slow ones."""

import numpy as np
import pytest
import torch
from formula import (
    FULL_SIZE,
    SMALL,
    architecture,
    assert_same_weights,
    gradients_close,
    losses_of_training,
    m3_model,
    read_json,
)
from torch.nn import functional

from clamp3.config import M3Architecture
from clamp3.errors import ConfigError
from clamp3.models.encoders import empty_weights
from clamp3.models.m3 import CHARACTERS, PAD, M3Model, PatchEmbedding, length_buckets

pytestmark = pytest.mark.usefixtures("one_thread")
INPUTS = ("original", "mask", "shuffle")


def batch(arrays, kind):
    """Targets, inputs, mask and selection of a recorded batch."""
    names = ("target_patches", f"input_{kind}", "masks", "selected_indices")
    return [torch.from_numpy(arrays[name]) for name in names]


@pytest.mark.parametrize("kind", INPUTS)
def test_loss_and_gradient_norms_are_the_recorded_ones(recorded, kind):
    arrays = recorded.arrays("m3_forward_{}.npz")
    norms = recorded.json("m3_forward_{}_grad_norms.json")[kind]
    model = m3_model(recorded.letter)
    loss = model.loss(*batch(arrays, kind))
    assert loss.item() == pytest.approx(float(arrays[f"{kind}_loss"]), abs=1e-5)
    loss.backward()
    named = dict(model.named_parameters())
    for name, norm in norms.items():
        gradients_close(named[name].grad.norm().numpy(), np.array(norm))
    moved = {name for name, p in named.items() if p.grad is not None and p.grad.any()}
    assert moved <= set(norms)


def test_single_gradients_are_the_recorded_ones(recorded):
    arrays = recorded.arrays("m3_forward_{}.npz")
    model = m3_model(recorded.letter)
    model.loss(*batch(arrays, "mask")).backward()
    named = dict(model.named_parameters())
    whole = {name: array for name, array in arrays.items() if name.startswith("mask_grad/")}
    assert len(whole) > 20
    for name, expected in whole.items():
        gradients_close(named[name.removeprefix("mask_grad/")].grad.numpy(), expected)
    rows = arrays.get("mask_grad_rows/encoder.patch_embedding.weight[:, 0:256]")
    if rows is not None:
        grad = named["encoder.patch_embedding.weight"].grad
        gradients_close(grad[: len(rows), :256].numpy(), rows)


def test_hidden_states_are_the_recorded_ones(recorded):
    arrays = recorded.arrays("m3_forward_{}.npz")
    model = m3_model(recorded.letter)
    for kind in INPUTS:
        _, inputs, mask, _ = batch(arrays, kind)
        with torch.no_grad():
            hidden = model.encoder(inputs, mask)
        rows = [sequence[real.bool()] for sequence, real in zip(hidden, mask, strict=True)]
        found = torch.cat(rows) if kind == "mask" else torch.stack([r.mean(0) for r in rows])
        np.testing.assert_allclose(found.numpy(), arrays[f"{kind}_hidden"], atol=2e-5, rtol=0)


def test_logits_are_the_recorded_ones(recorded):
    arrays = recorded.arrays("m3_forward_{}.npz")
    if "mask_logits_sel_0_1_2_3_m2_m1" not in arrays:
        pytest.skip("not in the part that the repository holds")
    model = m3_model(recorded.letter)
    targets, inputs, mask, selected = batch(arrays, "mask")
    with torch.no_grad():
        chosen = targets[selected.bool()][[0, 1, 2, 3, -2, -1]]
        features = model.encoder(inputs, mask)[selected.bool()][[0, 1, 2, 3, -2, -1]]
        logits = model.decoder(features, chosen)
    real = (chosen != PAD).numpy()
    expected = arrays["mask_logits_sel_0_1_2_3_m2_m1"]
    np.testing.assert_allclose(logits.numpy()[real], expected[real], atol=2e-5, rtol=0)


def test_next_characters_are_the_recorded_ones(recorded):
    arrays = recorded.arrays("m3_forward_{}.npz")
    model = m3_model(recorded.letter)
    tokens = torch.from_numpy(arrays["generate_tokens"])[None]
    feature = torch.from_numpy(arrays["generate_patch_feature"])[None]
    with torch.no_grad():
        likely = model.decoder(feature, tokens)[0].softmax(-1)
    found = likely[[n - 1 for n in (1, 2, 5, 20)]]
    expected = arrays["generate_probs_n_1_2_5_20"]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5, rtol=0)


def test_five_steps_of_training_go_the_recorded_way():
    arrays = dict(np.load(SMALL / "m3_forward_B.npz"))
    expected = read_json(SMALL / "m3_forward_B_grad_norms.json")["adamw_lr1e-3_losses_mask_input"]
    model = m3_model("B")
    inputs = batch(arrays, "mask")
    losses = losses_of_training(model, lambda: model.loss(*inputs), len(expected))
    assert losses == pytest.approx(expected, abs=2e-4)


def test_keys_and_shapes_are_those_of_the_published_model():
    recorded = read_json(SMALL / "state_dict_M3Model_full.json")
    with empty_weights():
        model = M3Model(FULL_SIZE)
    model.decoder.tie()
    assert {n: list(t.shape) for n, t in model.state_dict().items()} == recorded["tensors"]
    assert sum(p.numel() for p in model.parameters()) == recorded["n_parameters_unique"]


def plain_loss(model, targets, inputs, mask, selected):
    """The loss in one batch of full width, padding and all, through transformers' own loss."""
    chosen = targets[selected.bool()].long()
    features = model.encoder(inputs, mask)[selected.bool()]
    embedded = model.decoder.base.transformer.wte(chosen)
    embedded = torch.cat([features[:, None], embedded[:, 1:]], dim=1)
    return model.decoder.base(
        inputs_embeds=embedded,
        attention_mask=chosen != PAD,
        labels=chosen.masked_fill(chosen == PAD, -100),
    ).loss


def random_batch(seed, patch_size=16, items=3, patches=8):
    generator = torch.Generator().manual_seed(seed)
    shape = (items, patches, patch_size)
    targets = torch.randint(4, CHARACTERS, shape, generator=generator)
    ends = torch.randint(2, patch_size + 1, shape[:2], generator=generator)
    targets[torch.arange(patch_size) >= ends[..., None]] = PAD
    targets[..., 0] = 1
    mask = (torch.arange(patches) < torch.tensor([patches, 5, 3])[:, None]).long()
    selected = torch.rand(shape[:2], generator=generator).lt(0.5) & mask.bool()
    return targets * mask[..., None], mask, selected


@pytest.mark.parametrize("seed", range(3))
def test_bucketed_loss_is_the_plain_one(seed):
    model = m3_model("K")
    targets, mask, selected = random_batch(seed)
    losses, gradients = [], []
    for function in (M3Model.loss, plain_loss):
        model.zero_grad()
        loss = function(model, targets, targets, mask, selected)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)


def test_buckets_hold_each_patch_once_and_cut_no_character():
    targets, _, _ = random_batch(7, items=3)
    targets = targets.reshape(-1, targets.shape[-1])
    seen = []
    for rows, width in length_buckets(targets):
        assert not targets[rows, width:].any()
        assert targets[rows, width - 8 :].any(dim=1).all()  # none would fit a narrower bucket
        seen += rows.tolist()
    with_something_to_predict = (targets[:, 1:] != PAD).any(dim=1).nonzero().squeeze(1)
    assert sorted(seen) == with_something_to_predict.tolist()


def test_nothing_selected_gives_a_loss_of_zero_that_can_be_differentiated():
    model = m3_model("K")
    targets, mask, selected = random_batch(0)
    loss = model.loss(targets, targets, mask, torch.zeros_like(selected))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_patch_embedding_is_a_linear_layer_over_one_hot_characters(dtype):
    torch.manual_seed(3)
    layer = PatchEmbedding(16, 24)
    patches = torch.randint(0, CHARACTERS, (2, 5, 16), dtype=dtype)
    patches[:, :, 9:] = PAD
    outputs, gradients = [], []
    for fast in (True, False):
        layer.zero_grad()
        one_hot = functional.one_hot(patches.long(), CHARACTERS).reshape(2, 5, -1).float()
        out = layer(patches) if fast else functional.linear(one_hot, layer.weight, layer.bias)
        (out * torch.arange(24)).square().sum().backward()
        outputs.append(out.detach())
        gradients.append((layer.weight.grad.clone(), layer.bias.grad.clone()))
    assert outputs[0].shape == (2, 5, 24)
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-3, rtol=1e-5)


def test_patch_embedding_is_laid_out_for_the_sum_and_stays_so():
    layer = PatchEmbedding(16, 24)
    assert layer.weight.shape == (24, 16 * CHARACTERS)
    assert layer.weight.t().is_contiguous()
    before = layer(torch.ones(1, 1, 16, dtype=torch.uint8))
    layer.load_state_dict({n: t.contiguous() for n, t in layer.state_dict().items()}, assign=True)
    assert not layer.weight.t().is_contiguous()
    torch.testing.assert_close(layer(torch.ones(1, 1, 16, dtype=torch.uint8)), before)
    layer.arrange()
    assert layer.weight.t().is_contiguous()
    torch.testing.assert_close(layer(torch.ones(1, 1, 16, dtype=torch.uint8)), before)


def test_patch_embedding_refuses_what_the_sum_would_misread():
    layer = PatchEmbedding(16, 24)
    with pytest.raises(ValueError, match="8 characters: expected 16"):
        layer(torch.ones(1, 2, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="character 128 in a patch"):
        layer(torch.full((1, 1, 16), 128))
    assert layer(torch.ones(0, 3, 16, dtype=torch.uint8)).shape == (0, 3, 24)


def test_padding_and_company_change_nothing():
    model = m3_model("K")
    targets, mask, _ = random_batch(5)
    with torch.no_grad():
        together = model.encoder(targets, mask)
        alone = model.encoder(targets[1:2, :5], mask[1:2, :5])
    torch.testing.assert_close(together[1:2, :5], alone, atol=2e-6, rtol=0)


def test_the_seed_alone_decides_the_weights():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(M3Model(architecture("K")))
    assert_same_weights(*models[:2])
    assert not torch.equal(*(m.encoder.patch_embedding.weight for m in models[1:]))


def test_heads_that_cannot_share_the_width_are_refused():
    sizes = architecture("K").model_dump() | {"hidden_size": 200}
    with pytest.raises(ConfigError, match="hidden_size 200: 3 attention heads"):
        M3Model(M3Architecture(**sizes))


def test_the_output_layer_is_the_character_embedding():
    model = M3Model(architecture("K"))
    assert model.decoder.base.lm_head.weight is model.decoder.base.transformer.wte.weight
