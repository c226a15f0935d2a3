"""Training an adapter: what learns, what is written, what is refused."""

import json

import pytest
import torch
import yaml
from repository import ROOT
from safetensors.torch import load_file
from small_corpus import (
    beside,
    clamp_settings,
    contents,
    lora_settings,
    make_corpus,
    make_start,
    stage,
    table,
)
from tiny_task import KilledError, kill_at

from clamp3.config import LoraConfig, check
from clamp3.errors import ConfigError, DataError
from clamp3.files import write_jsonl
from clamp3.models.checkpoints import load_clamp, read_config
from clamp3.training.clamp import train_clamp_stage
from clamp3.training.contrast import ContrastiveTask
from clamp3.training.lora import train_adapter

# peft asks transformers by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Manifests and a CLaMP 3 with text and symbolic towers."""
    folder = tmp_path_factory.mktemp("model")
    train, validation = make_corpus(folder), make_corpus(folder, 7, "validation")
    settings = clamp_settings(similarity="cosine", logit_scale=10.0)
    make_start(folder, train["abc"])
    train_clamp_stage(
        stage=stage(text_dropout="none", epochs=25, learning_rate=3.0e-3),
        config=settings,
        manifests_train=[train["abc"], train["mtf"]],
        manifests_validation=[],
        start=folder / "m3",
        tokenizer=folder / "tokenizer",
        seed=1,
        **beside(folder / "clamp3"),
    )
    return folder / "clamp3", train, validation


def _adapt(trained, out, modality="abc", *, settings=None, train=None, guard=None):
    model, manifests, validation = trained
    train_adapter(
        modality=modality,
        model=model,
        manifests_train=[train or manifests[modality]],
        manifests_validation=[validation[modality]],
        manifest_guard=guard,
        history=out.with_suffix(".json"),
        settings=settings or lora_settings(),
        seed=1,
        **beside(out),
    )
    return contents(out)


def _history(out):
    return json.loads((out / "history.json").read_text())


@pytest.mark.parametrize("modality", ["abc", "mtf"])
def test_writes_an_adapter_that_changes_the_symbolic_tower_alone(trained, tmp_path, modality):
    before = contents(trained[0])
    files = _adapt(trained, tmp_path / modality, modality)
    assert sorted(files) == ["adapter_config.json", "adapter_model.safetensors", "history.json"]
    assert contents(trained[0]) == before
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
    history = _history(tmp_path / "abc")
    assert (history["modality"], history["base"]) == ("abc", read_config(trained[0]).fingerprint)
    weights = load_file(tmp_path / "abc" / "adapter_model.safetensors")
    assert history["trainable_parameters"] == sum(t.numel() for t in weights.values()) == 3 * 512
    assert json.loads((tmp_path / "abc.json").read_text()) == history
    assert (history["settings"]["rank"], history["stopped_by"]) == (4, None)
    assert "workers" not in history["settings"]["training"]
    first, second = history["by_epoch"]
    assert (first["epoch"], first["step"], first["train"]["steps"]) == (1, 3, 3)
    assert (second["epoch"], second["step"], second["learning_rate"]) == (2, 6, 2.0e-3)
    rows = table(tmp_path / "abc.tsv")
    for epoch, learned, heard in zip((first, second), rows[::2], rows[1::2], strict=True):
        assert f"{epoch['train']['loss']:.6g}" == learned["loss"]
        assert f"{epoch['validation']['loss']:.6g}" == heard["loss"]
        assert f"{epoch['validation']['reciprocal_rank']:.6g}" == heard["reciprocal_rank"]
    assert "second" not in str(history)
    assert "lora-abc: 1,536 of the 580,864 parameters of the symbolic tower learn" in caplog.text
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
        return _history(tmp_path / name)["best_validation_loss"]

    assert best("long", epochs=20, learning_rate=1.0e-2) < best("none", learning_rate=1.0e-9) - 0.02


def test_refusals(trained, tmp_path):
    with pytest.raises(ConfigError, match="modality: midi; expected one of abc, mtf"):
        _adapt((trained[0], {"midi": 1}, {"midi": 1}), tmp_path / "midi", "midi")
    with pytest.raises(DataError, match="lora-abc: 0 pieces with text and abc music"):
        _adapt(trained, tmp_path / "abc", train=trained[1]["mtf"])
    targets = lora_settings().model_copy(update={"targets": ("nothing",)})
    with pytest.raises(ConfigError, match=r"lora\.targets: no layer is called nothing"):
        _adapt(trained, tmp_path / "abc", settings=targets)


def _of_preset(name, **changes):
    """The adapter's settings of params.yaml with a preset over them, at a size for the test."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["lora"]
    preset = yaml.safe_load((ROOT / f"presets/{name}.yaml").read_text())["lora"]
    training = values["training"] | preset.pop("training")
    training |= {"batch_size": 6, "warmup_steps": 2, "precision": "fp32"}
    return check(LoraConfig, values | preset | {"training": training} | changes, name)


@pytest.mark.parametrize(
    ("name", "rank", "alpha", "rate", "epochs"),
    [("lora-r8", 8, 16, 1.0e-4, 10), ("lora-r4", 4, 8, 2.0e-3, 20)],
)
def test_the_presets_train(trained, tmp_path, name, rank, alpha, rate, epochs):
    settings = _of_preset(name)
    assert settings.training.keep_checkpoints == 3
    _adapt(trained, tmp_path / "abc", settings=settings, guard=trained[2]["abc"])
    history, config = _history(tmp_path / "abc"), tmp_path / "abc" / "adapter_config.json"
    said = json.loads(config.read_text())
    assert (said["r"], said["lora_alpha"], said["lora_dropout"]) == (rank, alpha, 0.1)
    assert said["target_modules"] == ["key", "query", "value"]
    assert [epoch["epoch"] for epoch in history["by_epoch"]] == list(range(epochs + 1))
    assert history["by_epoch"][-1]["learning_rate"] == rate
    kept = sorted(path.stem for path in (tmp_path / "abc.resume-weights").iterdir())
    last = [f"epoch-{epoch:04d}" for epoch in range(epochs - 2, epochs + 1)]
    assert kept == ["best", *last]
    named = load_file(tmp_path / "abc.resume-weights" / f"{last[-1]}.safetensors")
    assert sum(tensor.numel() for tensor in named.values()) == 3 * 2 * rank * 64


def test_other_targets_can_be_named(trained, tmp_path):
    settings = _of_preset("lora-r4", targets=["value", "dense"])
    _adapt(trained, tmp_path / "abc", settings=settings)
    names = load_file(tmp_path / "abc" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"value", "dense"}


@pytest.mark.parametrize("modality", ["abc", "mtf"])
def test_stops_when_retrieval_does_not_rise(trained, tmp_path, modality):
    chosen = {"evaluate_by": "reciprocal_rank", "patience_epochs": 3, "epochs": 9}
    settings = lora_settings(learning_rate=1.0e-9, **chosen)
    _adapt(trained, tmp_path / modality, modality, settings=settings)
    history = _history(tmp_path / modality)
    assert (history["epochs"], history["kept_epoch"], history["best_epoch"]) == (4, 1, 1)
    assert history["stopped_by"] == "patience"


@pytest.fixture
def misled(trained, tmp_path):
    """Six of the model's pieces with other texts, to learn by heart, and all with their own."""
    manifest = trained[1]["abc"]
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    said = [rows[(place + 7) % len(rows)] for place in range(6)]
    texts = ("analysis", "background", "scene", "tags")
    wrong = [
        row | {key: other[key] for key in texts} for row, other in zip(rows[:6], said, strict=True)
    ]
    write_jsonl(tmp_path / "wrong.jsonl", wrong)
    return tmp_path / "wrong.jsonl", manifest


OVERFIT = {"epochs": 8, "learning_rate": 3.0e-2, "warmup_steps": 0}


def _guarded(trained, out, misled, action, **changes):
    guard = {"action": action, "max_fall": changes.pop("max_fall", 0.1)}
    settings = lora_settings(guard=guard, **OVERFIT | changes)
    files = _adapt(trained, out, settings=settings, train=misled[0], guard=misled[1])
    rows = [row for row in table(out.with_suffix(".tsv")) if row["split"] == "guard"]
    return files, _history(out), rows


@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_guard_stops_what_learns_by_heart(trained, tmp_path, misled, caplog, keep):
    files, history, rows = _guarded(trained, tmp_path / "abc", misled, "stop", keep=keep)
    assert [row["passed"] for row in rows] == ["1"] * (len(rows) - 1) + ["0"]
    assert rows[0]["epoch"] == rows[0]["step"] == "0"
    assert float(rows[0]["fall"]) == 0
    assert float(rows[-1]["fall"]) > 0.1
    before, after = (float(row["reciprocal_rank"]) for row in (rows[0], rows[-1]))
    assert 1 - after / before == pytest.approx(float(rows[-1]["fall"]), abs=1e-4)
    assert history["stopped_by"] == "guard"
    assert history["epochs"] == len(rows) - 1 < 8
    assert history["kept_epoch"] < history["epochs"]
    assert "training ends, and these weights are not kept" in caplog.text
    if keep == "last":
        assert history["kept_epoch"] == history["epochs"] - 1
        short = lora_settings(**OVERFIT | {"epochs": history["kept_epoch"] or 1}, keep=keep)
        again = _adapt(trained, tmp_path / "short", settings=short, train=misled[0])
        weights = "adapter_model.safetensors"
        assert (files[weights] == again[weights]) == (history["kept_epoch"] > 0)


def test_where_nothing_passes_the_adapter_changes_nothing(trained, tmp_path, misled):
    rate = {"learning_rate": 0.3, "batch_size": 2}
    _, history, _ = _guarded(trained, tmp_path / "abc", misled, "stop", **rate)
    assert (history["epochs"], history["kept_epoch"]) == (1, 0)
    plain, adapted = load_clamp(trained[0]), load_clamp(trained[0], adapter=tmp_path / "abc")
    ours, theirs = plain.model.state_dict(), adapted.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_guard_warns_and_changes_nothing(trained, tmp_path, misled, caplog):
    files, history, rows = _guarded(trained, tmp_path / "abc", misled, "warn")
    assert "0" in {row["passed"] for row in rows}
    assert len(rows) == 9
    assert (history["epochs"], history["stopped_by"]) == (8, None)
    failed = [row for row in rows if row["passed"] == "0"]
    assert caplog.text.count("less than the") == len(failed)
    assert "these weights are not kept" not in caplog.text
    guarded = history["by_epoch"][-1]["guard"]
    assert f"{guarded['fall']:.6g}" == rows[-1]["fall"]
    plain, _, none = _guarded(trained, tmp_path / "none", misled, "none")
    assert none == []
    assert plain["adapter_model.safetensors"] == files["adapter_model.safetensors"]


def test_the_guard_lets_pass_what_does_no_harm(trained, tmp_path, misled, caplog):
    gentle = {"learning_rate": 1.0e-6}
    _, history, rows = _guarded(trained, tmp_path / "abc", misled, "stop", keep="last", **gentle)
    assert {row["passed"] for row in rows} == {"1"}
    assert (history["stopped_by"], history["kept_epoch"], history["epochs"]) == (None, 8, 8)
    assert "less than" not in caplog.text


def test_without_another_collection_there_is_a_warning(trained, tmp_path, misled, caplog):
    settings = lora_settings(guard={"action": "stop"})
    _adapt(trained, tmp_path / "abc", settings=settings)
    assert "no pieces of another collection with text: no guard" in caplog.text
    assert {row["split"] for row in table(tmp_path / "abc.tsv")} == {"train", "validation"}


@pytest.mark.usefixtures("eager_saving")
def test_killed_and_resumed_it_is_as_if_nothing_had_happened(
    trained, tmp_path, misled, monkeypatch
):
    names = ("whole", "killed")
    chosen = {"settings": lora_settings(guard={"action": "warn"}, epochs=4)}
    chosen |= {"train": misled[0], "guard": misled[1]}
    files = _adapt(trained, tmp_path / "whole", **chosen)
    kill_at(monkeypatch, ContrastiveTask, 1, 3)
    for _ in range(2):
        with pytest.raises(KilledError):
            _adapt(trained, tmp_path / "killed", **chosen)
    assert _adapt(trained, tmp_path / "killed", **chosen) == files
    for suffix in (".tsv", ".json"):
        one, other = (tmp_path / f"{name}{suffix}" for name in names)
        assert one.read_bytes() == other.read_bytes()


def test_of_the_other_collection_at_most_so_many_pieces_are_ranked(trained, tmp_path, caplog):
    caplog.set_level("INFO", "clamp3")
    settings = lora_settings(guard={"action": "stop", "pieces": 5, "max_fall": 1.0})
    _adapt(trained, tmp_path / "abc", settings=settings, guard=trained[2]["abc"])
    assert "lora-abc, guard: 5 pieces" in caplog.text
