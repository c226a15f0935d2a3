"""Training an adapter: what learns, what is written, what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file
from small_corpus import clamp_settings, lora_settings, m3_settings, make_corpus, stage

from clamp3.errors import ConfigError, DataError
from clamp3.models.checkpoints import load_clamp, read_config, save_checkpoint
from clamp3.models.m3 import M3Model
from clamp3.training.clamp import make_tokenizer, train_clamp_stage
from clamp3.training.lora import train_adapter

# peft asks transformers by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Manifests and a CLaMP 3 with text and symbolic towers."""
    folder = tmp_path_factory.mktemp("model")
    train, validation = make_corpus(folder), make_corpus(folder, 7, "validation")
    settings = clamp_settings(similarity="cosine", logit_scale=10.0)
    torch.manual_seed(0)
    save_checkpoint(M3Model(m3_settings().architecture), folder / "m3")
    make_tokenizer(
        manifests=[train["abc"]],
        out=folder / "tokenizer",
        settings=settings.text,
        start=folder / "m3",
    )
    train_clamp_stage(
        stage=stage(text_dropout="none", epochs=25, learning_rate=3.0e-3),
        config=settings,
        manifests_train=[train["abc"], train["mtf"]],
        manifests_validation=[],
        start=folder / "m3",
        tokenizer=folder / "tokenizer",
        out=folder / "clamp3",
        metrics=folder / "clamp3.tsv",
        resume=folder / "resume",
        seed=1,
    )
    return folder / "clamp3", train, validation


def _adapt(trained, out, modality="abc", *, settings=None, train=None):
    model, manifests, validation = trained
    train_adapter(
        modality=modality,
        model=model,
        manifests_train=[train or manifests[modality]],
        manifests_validation=[validation[modality]],
        out=out,
        metrics=out.with_suffix(".tsv"),
        resume=out.with_suffix(".resume"),
        settings=settings or lora_settings(),
        seed=1,
    )
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize("modality", ["abc", "mtf"])
def test_writes_an_adapter_that_changes_the_symbolic_tower_alone(trained, tmp_path, modality):
    before = {path.name: path.read_bytes() for path in trained[0].iterdir()}
    files = _adapt(trained, tmp_path / modality, modality)
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors", "history.json"]
    assert {path.name: path.read_bytes() for path in trained[0].iterdir()} == before
    assert not (tmp_path / f"{modality}.resume").exists()
    plain, adapted = load_clamp(trained[0]), load_clamp(trained[0], adapter=tmp_path / modality)
    assert plain.fingerprint != adapted.fingerprint
    ours, theirs = plain.model.state_dict(), adapted.model.state_dict()
    changed = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert len(changed) == 3  # one layer's
    assert all(name.split(".")[-2] in ("query", "key", "value") for name in changed)
    assert all(name.startswith("symbolic_model.base.encoder.layer.0") for name in changed)


def test_history_says_what_it_was_trained_on_and_how(trained, tmp_path, caplog):
    with caplog.at_level("INFO", "clamp3"):
        _adapt(trained, tmp_path / "abc")
    history = json.loads((tmp_path / "abc" / "history.json").read_text())
    assert (history["modality"], history["base"]) == ("abc", read_config(trained[0]).fingerprint)
    weights = load_file(tmp_path / "abc" / "adapter_model.safetensors")
    assert history["trainable_parameters"] == sum(t.numel() for t in weights.values()) == 3 * 512
    assert {row["split"] for row in history["rows"]} == {"train", "validation"}
    assert f"lora-abc: {3 * 512} of" in caplog.text
    assert "18 pieces, 7 for validation" in caplog.text


def test_the_same_again(trained, tmp_path):
    assert _adapt(trained, tmp_path / "a") == _adapt(trained, tmp_path / "b")


def test_the_adapter_learns(trained, tmp_path):
    """On the pieces it is trained on, the loss falls below that of the model alone."""
    model, train, _ = trained
    plain = lora_settings().model_copy(update={"text_dropout": False})

    def best(name, **changes):
        training = plain.training.model_copy(update=changes)
        settings = plain.model_copy(update={"training": training})
        _adapt((model, train, train), tmp_path / name, settings=settings)
        history = json.loads((tmp_path / name / "history.json").read_text())
        return history["best_validation_loss"]

    assert best("long", epochs=20, learning_rate=1.0e-2) < best("none", learning_rate=1.0e-9) - 0.02


def test_refusals(trained, tmp_path):
    with pytest.raises(ConfigError, match="modality: midi; expected one of abc, mtf"):
        _adapt((trained[0], {"midi": 1}, {"midi": 1}), tmp_path / "midi", "midi")
    with pytest.raises(DataError, match="lora-abc: 0 pieces with text and abc music"):
        _adapt(trained, tmp_path / "abc", train=trained[1]["mtf"])
    targets = lora_settings().model_copy(update={"targets": ("nothing",)})
    with pytest.raises(ConfigError, match=r"lora\.targets: no layer is called nothing"):
        _adapt(trained, tmp_path / "abc", settings=targets)
