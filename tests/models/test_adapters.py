"""Adapters by format, and several of them in memory with one copy of what they share."""

from pathlib import Path

import pytest
import torch
from formula import clamp_model, trained_adapter
from torch import nn

from clamp3.errors import CheckpointError, ConfigError
from clamp3.files import write_json
from clamp3.models import adapters as adapters_module
from clamp3.models.adapters import adapters_by_format, load_adapted
from clamp3.models.checkpoints import load_clamp, save_checkpoint
from clamp3.models.lora import save_adapter

pytestmark = pytest.mark.filterwarnings(  # peft asks transformers under an old name
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)
TARGETS = {"query", "key", "value"}


@pytest.fixture
def folders(tmp_path):
    """A model and two adapters; that of `abc` says what it was trained for."""
    save_checkpoint(clamp_model("K"), tmp_path / "model")
    for seed, name in enumerate(("abc", "mtf")):
        save_adapter(trained_adapter(seed), tmp_path / name)
    write_json(tmp_path / "abc/history.json", {"modality": "abc"})
    return tmp_path


def test_adapters_are_named_by_format(folders):
    abc, mtf = folders / "abc", folders / "mtf"
    for given, expected in (
        (None, {}),
        ([], {}),
        (mtf, {"abc": mtf, "mtf": mtf}),  # it does not say
        (str(abc), {"abc": abc}),
        ({"mtf": str(abc)}, {"mtf": abc}),
        ({"mtf": mtf, "abc": abc}, {"abc": abc, "mtf": mtf}),
        ([f"mtf={mtf}", f"abc={abc}"], {"abc": abc, "mtf": mtf}),
        ([abc, f"mtf={mtf}"], {"abc": abc, "mtf": mtf}),
        ([abc, str(abc)], {"abc": abc}),
    ):
        found = adapters_by_format(given)
        assert (list(found), found) == (sorted(expected), expected)


def test_a_folder_with_an_equals_sign_is_a_folder(tmp_path, monkeypatch):
    save_adapter(trained_adapter(), tmp_path / "lr=1")
    monkeypatch.chdir(tmp_path)
    both = {"abc": Path("lr=1"), "mtf": Path("lr=1")}
    assert adapters_by_format(["lr=1"]) == both
    assert adapters_by_format([str(tmp_path / "lr=2")]).keys() == both.keys()
    assert adapters_by_format(["abc=lr=1"]) == {"abc": Path("lr=1")}


def test_what_is_named_wrongly_is_told(folders):
    abc, mtf = folders / "abc", folders / "mtf"
    with pytest.raises(ConfigError, match=r"adapter audio=.*expected one of abc, mtf"):
        adapters_by_format({"audio": abc})
    with pytest.raises(ConfigError, match="adapter midi=x: expected one of abc, mtf"):
        adapters_by_format(["midi=x"])
    with pytest.raises(ConfigError, match=r"a second adapter for abc, after \S+mtf|abc;"):
        adapters_by_format([abc, mtf])
    (abc / "history.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"history\.json: not an adapter's history"):
        adapters_by_format(abc)


def weights(model):
    return {name: tensor for name, tensor in model.state_dict().items() if "weight" in name}


def test_each_is_the_model_with_its_adapter_and_the_rest_is_there_once(folders):
    named = [folders / "abc", folders / "mtf", None]
    made = load_adapted(folders / "model", named)
    plain = weights(made[2].model)
    for adapter, found in zip(named, made, strict=True):
        alone = load_clamp(folders / "model", towers=["symbolic"], adapter=adapter)
        assert (found.fingerprint, found.model.training) == (alone.fingerprint, False)
        for name, tensor in weights(alone.model).items():
            assert torch.equal(tensor, weights(found.model)[name])
            is_target = name.split(".")[-2] in TARGETS
            shared = plain[name].data_ptr() == weights(found.model)[name].data_ptr()
            assert shared == (adapter is None or not is_target), name


def test_weights_that_were_laid_out_anew_are_shared_too(folders, monkeypatch):
    class Packed(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.packed = linear.weight.clone()

    def pack(model):
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, Packed(module))

    monkeypatch.setattr(adapters_module, "suit_cpu", pack)
    one, other = (
        {name: m for name, m in each.model.named_modules() if isinstance(m, Packed)}
        for each in load_adapted(folders / "model", [folders / "abc", folders / "mtf"])
    )
    assert len(one) > 6
    for name, module in one.items():
        assert (other[name] is module) == (name.split(".")[-1] not in TARGETS), name
        alone = torch.equal(other[name].packed, module.packed)
        assert alone == (other[name] is module)
