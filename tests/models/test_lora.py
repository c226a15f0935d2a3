"""Adapters of the symbolic tower: the recorded ones, peft's layout, training and faults."""

import json

import numpy as np
import peft
import pytest
import torch
from damage import change_json, change_tensors
from formula import (
    SMALL,
    clamp_model,
    lora_settings,
    published_config,
    read_json,
    trained_adapter,
    values,
    whole_piece,
)
from safetensors.torch import load_file, save_file

from clamp3.errors import CheckpointError, ConfigError
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import assign, load_clamp, save_checkpoint, shapes_of
from clamp3.models.clamp import ClampModel
from clamp3.models.encoders import empty_weights
from clamp3.models.lora import (
    add_lora,
    describe_adapter,
    has_adapter,
    load_adapter,
    merge_adapter,
    save_adapter,
    trainable_parameters,
)
from clamp3.models.weights import read_tensors

pytestmark = pytest.mark.filterwarnings(  # peft asks transformers under an old name
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def embed(model, patches):
    """The embedding of a whole score or performance."""
    with torch.no_grad():
        return whole_piece(model, "symbolic", patches, model.config.symbolic.patch_length)[
            1
        ].numpy()


@pytest.fixture
def recorded_adapter(tmp_path):
    """The recorded small adapter as a folder, and what is recorded of it."""
    recorded = read_json(SMALL / "lora_tiny_B.json")
    tensors = {name: values(name, shape) for name, shape in recorded["adapter_keys"].items()}
    for name, tensor in tensors.items():
        tensor *= 0.25 if "lora_B" in name else 1.0
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(recorded["adapter_config"]))
    return folder, recorded


def test_a_small_adapter_gives_the_recorded_embeddings(recorded_adapter):
    folder, recorded = recorded_adapter
    arrays = dict(np.load(SMALL / "lora_tiny_B.npz"))
    inputs = read_json(SMALL / "extract_B_inputs.json")["inputs"]
    model = clamp_model("B")
    for stage, change in (
        ("none", lambda m: m),
        ("adapter", lambda m: load_adapter(m, folder)),
        ("adapter", merge_adapter),
    ):
        change(model)
        for name in recorded["files"]:
            found = embed(model, torch.from_numpy(encode_patches(inputs[name])))
            np.testing.assert_allclose(found, arrays[f"{stage}/{name}"], atol=1e-5, rtol=0)


def full_size_model(tensors):
    """The published symbolic tower with the given weights, in eval mode."""
    with empty_weights():
        model = ClampModel(published_config("clamp3", ("symbolic",)))
    tensors = tensors or {name: values(name, shape) for name, shape in shapes_of(model).items()}
    assign(model, {name: tensor.clone() for name, tensor in tensors.items()})
    return model.eval()


@pytest.mark.slow
def test_the_real_adapters_give_the_recorded_embeddings(goldens, tmp_path):
    folder = goldens / "models"
    arrays = dict(np.load(folder / "lora.npz"))
    inputs = {
        name: torch.from_numpy(encode_patches(text))
        for name, text in read_json(folder / "lora.json")["inputs"].items()
    }
    plain = full_size_model(None)
    check_full_size(plain, inputs, arrays, "none")
    for kind in ("mtf", "abc"):
        adapter = folder / "adapters" / f"lora_{kind}_adapter"
        model = load_adapter(full_size_model(plain.state_dict()), adapter)
        check_full_size(model, inputs, arrays, f"{kind}_adapter")
        save_adapter(model, tmp_path / kind)
        again = load_file(tmp_path / kind / "adapter_model.safetensors")
        for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
            assert torch.equal(again.pop(name), tensor)
        assert not again


def check_full_size(model, inputs, arrays, stage):
    for name, patches in inputs.items():
        mask = torch.ones(1, len(patches))
        with torch.no_grad():
            hidden = model.symbolic_hidden(patches[None], mask)
            vector = model.project("symbolic", hidden, mask)[0]
        np.testing.assert_allclose(
            vector.numpy(), arrays[f"{stage}/{name}/global"], atol=1e-5, rtol=0
        )
        np.testing.assert_allclose(
            hidden[0, :4].numpy(), arrays[f"{stage}/{name}/hidden_first4"], atol=2e-5, rtol=0
        )


@pytest.mark.parametrize(
    ("rank", "count", "said"),
    [
        (4, 221_184, "221,184 of the 92,555,520 parameters"),
        (8, 442_368, "442,368 of the 92,776,704 parameters"),
    ],
)
def test_a_published_adapter_has_the_published_number_of_values(rank, count, said):
    with empty_weights():
        model = ClampModel(published_config("clamp3", ("symbolic",)))
        add_lora(model, lora_settings(rank=rank, alpha=2 * rank))
    assert trainable_parameters(model) == count
    assert describe_adapter(model).startswith(said)
    assert describe_adapter(model).endswith(f"(rank {rank}, alpha {2 * rank}, key, query, value)")


def patches_of_k(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 127, (8, 16), generator=generator)


def test_a_new_adapter_changes_nothing_and_only_it_can_be_trained():
    model = clamp_model("K")
    before = embed(model, patches_of_k())
    assert not has_adapter(model)
    assert add_lora(model, lora_settings()) is model
    assert has_adapter(model)
    np.testing.assert_array_equal(embed(model, patches_of_k()), before)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 6
    assert all(".lora_" in name for name in trained)
    assert trainable_parameters(model) == 3 * 2 * 4 * 64
    model.encode_symbolic(patches_of_k()[None], torch.ones(1, 8)).sum().backward()
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_the_seed_alone_decides_a_new_adapter():
    states = [trained_adapter(seed).state_dict() for seed in (1, 1, 2)]
    name = next(n for n in states[0] if "lora_A" in n)
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[1][name], states[2][name])


def test_saved_loaded_and_merged_an_adapter_does_the_same(tmp_path):
    model = trained_adapter()
    expected = embed(model, patches_of_k())
    save_adapter(model, tmp_path / "adapter")
    other = load_adapter(clamp_model("K"), tmp_path / "adapter")
    np.testing.assert_array_equal(embed(other, patches_of_k()), expected)
    assert trainable_parameters(other) == 0
    merged = merge_adapter(other)
    assert not has_adapter(merged)
    assert list(merged.state_dict()) == list(clamp_model("K").state_dict())
    np.testing.assert_allclose(embed(merged, patches_of_k()), expected, atol=1e-5)
    assert np.abs(expected - embed(clamp_model("K"), patches_of_k())).max() > 0.01


@pytest.mark.parametrize("training", [True, False])
def test_an_adapter_takes_the_mode_of_its_model(tmp_path, training):
    save_adapter(trained_adapter(), tmp_path / "adapter")
    for attach in (
        lambda m: add_lora(m, lora_settings()),
        lambda m: load_adapter(m, tmp_path / "adapter"),
    ):
        model = attach(clamp_model("K").train(training))
        assert {module.training for module in model.modules()} == {training}


def test_an_adapter_works_in_a_clamp2_model(tmp_path):
    model = clamp_model("K", "clamp2")
    before = embed(model, patches_of_k())
    save_adapter(trained_adapter(), tmp_path / "adapter")
    load_adapter(model, tmp_path / "adapter")
    assert np.abs(embed(model, patches_of_k()) - before).max() > 0.01


def test_peft_reads_the_folder(tmp_path):
    model = trained_adapter()
    save_adapter(model, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    names = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    for layer in ("query", "key", "value"):
        for half, shape in (("A", (4, 64)), ("B", (64, 4))):
            start = "base_model.model.encoder.layer.0.attention.self"
            assert names.pop(f"{start}.{layer}.lora_{half}.weight").shape == shape
    assert not names
    other = clamp_model("K")
    other.symbolic_model.base = peft.PeftModel.from_pretrained(
        other.symbolic_model.base, tmp_path / "adapter"
    )
    np.testing.assert_array_equal(embed(other, patches_of_k()), embed(model, patches_of_k()))


def test_the_same_adapter_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_adapter(trained_adapter(), tmp_path / name)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    content = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert content["target_modules"] == ["key", "query", "value"]
    assert (content["r"], content["lora_alpha"], content["inference_mode"]) == (4, 8, True)


def test_a_checkpoint_is_loaded_with_an_adapter(tmp_path):
    save_checkpoint(clamp_model("K"), tmp_path / "model")
    model = trained_adapter()
    save_adapter(model, tmp_path / "adapter")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    loaded = load_clamp(tmp_path / "model", adapter=tmp_path / "adapter")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_allclose(
        embed(loaded.model, patches_of_k()), embed(model, patches_of_k()), atol=1e-5
    )
    plain = load_clamp(tmp_path / "model").fingerprint
    save_adapter(trained_adapter(alpha=16), tmp_path / "other")
    other = load_clamp(tmp_path / "model", adapter=tmp_path / "other").fingerprint
    assert len({plain, loaded.fingerprint, other}) == 3
    text = load_clamp(tmp_path / "model", towers=["text"], adapter=tmp_path / "adapter")
    assert text.fingerprint == loaded.fingerprint


def test_a_model_with_an_adapter_is_not_saved_as_a_whole(tmp_path):
    with pytest.raises(CheckpointError, match="belongs to an adapter: save it with save_adapter"):
        save_checkpoint(trained_adapter(), tmp_path / "model")
    save_checkpoint(merge_adapter(trained_adapter()), tmp_path / "model")


def test_a_second_adapter_is_refused(tmp_path):
    model = trained_adapter()
    save_adapter(model, tmp_path / "adapter")
    with pytest.raises(CheckpointError, match="has an adapter already"):
        load_adapter(model, tmp_path / "adapter")
    with pytest.raises(ValueError, match="has an adapter already"):
        add_lora(model, lora_settings())


def test_without_an_adapter_there_is_nothing_to_save_or_merge(tmp_path):
    for function in (merge_adapter, lambda model: save_adapter(model, tmp_path / "adapter")):
        with pytest.raises(ValueError, match="has no adapter"):
            function(clamp_model("K"))


@pytest.mark.parametrize("targets", [("query", "keys"), ()])
def test_unknown_targets_are_refused(targets):
    with pytest.raises(ConfigError, match=r"lora\.targets: no layer is called (keys|so)"):
        add_lora(clamp_model("K"), lora_settings(targets=targets))


def test_a_diverged_adapter_is_not_saved(tmp_path):
    model = trained_adapter()
    next(p for n, p in model.named_parameters() if "lora_B" in n).data[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save_adapter(model, tmp_path / "adapter")
    assert not list(tmp_path.iterdir())


def rewrite(change):
    return lambda folder: change_tensors(folder / "adapter_model.safetensors", change)


def of_each(function):
    """Change every tensor."""
    return rewrite(lambda tensors: tensors.update({n: function(t) for n, t in tensors.items()}))


def describe(**changes):
    return lambda folder: change_json(
        folder / "adapter_config.json", lambda content: content.update(changes)
    )


def flip(folder):
    """Change one bit of a value, which stays a finite number."""
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4] ^= 1  # the smallest bit of the last number
    path.write_bytes(data)


FAULTS = [
    (flip, "not the weights that were saved"),
    (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json: no such file"),
    (lambda f: (f / "adapter_model.safetensors").unlink(), "safetensors: no such file"),
    (lambda f: (f / "adapter_config.json").write_text("{"), "not an adapter's description"),
    (lambda f: (f / "adapter_config.json").write_text("{}"), "of type None, expected LORA"),
    (
        lambda f: (f / "adapter_config.json").write_text('{"peft_type": "IA3"}'),
        "of type .*IA3, expected LORA",
    ),
    (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"123"),
        "not a readable safetensors file",
    ),
    (describe(peft_type="NONSENSE"), "not an adapter's description"),
    (describe(r=2), r"lora_A.weight has the shape \[4, 64\], expected \[2, 64\]"),
    (describe(target_modules=["query"]), "holds the unknown tensor .*key.lora_A"),
    (describe(target_modules=["nothing"]), "does not fit the symbolic tower"),
    (rewrite(lambda tensors: tensors.pop(next(iter(tensors)))), "lacks the tensor"),
    (of_each(torch.t), "looks transposed"),
    (of_each(lambda tensor: tensor * float("inf")), "not finite"),
]


@pytest.mark.filterwarnings("ignore:.*target_modules.*")
@pytest.mark.parametrize(("damage", "message"), FAULTS)
def test_faulty_adapters_are_named_and_leave_the_model_alone(tmp_path, damage, message):
    save_adapter(trained_adapter(), tmp_path / "adapter")
    damage(tmp_path / "adapter")
    model = clamp_model("K")
    before = embed(model, patches_of_k())
    trainable = trainable_parameters(model)
    with pytest.raises(CheckpointError, match=message):
        load_adapter(model, tmp_path / "adapter")
    assert not has_adapter(model)
    assert trainable_parameters(model) == trainable
    np.testing.assert_array_equal(embed(model, patches_of_k()), before)


def test_weights_that_may_not_be_read_are_told_as_such(tmp_path, monkeypatch):
    save_adapter(trained_adapter(), tmp_path / "adapter")

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: .*Permission denied"):
        read_tensors(tmp_path / "adapter" / "adapter_model.safetensors")


def test_an_adapter_of_another_width_is_refused(tmp_path):
    save_adapter(trained_adapter(), tmp_path / "adapter")
    model = clamp_model("A")
    with pytest.raises(CheckpointError, match=r"\[4, 64\], expected \[4, 128\]|lacks the tensor"):
        load_adapter(model, tmp_path / "adapter")
