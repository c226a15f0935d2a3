"""`clamp3 train`: any training of params.yaml outside the pipeline."""

import pytest
import yaml
from repository import ROOT
from small_corpus import make_corpus
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.config import load_params
from clamp3.training.train_command import Given, run_training, task_names


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A corpus and a params.yaml of the smallest models."""
    folder = tmp_path_factory.mktemp("train")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {"patch_size": 64, "patch_length": 8, "hidden_size": 64}
    params["m3"]["architecture"] = small | {"encoder_layers": 1, "decoder_layers": 1}
    params["m3"]["training"]["steps"] = 2
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder, make_corpus(folder), make_corpus(folder, 5, "validation")


def train(*words):
    done = CliRunner().invoke(app, ["train", *map(str, words)])
    return done.exit_code, done.output


def test_m3_is_trained_from_the_command_line(place, tmp_path):
    folder, learning, heard = place
    manifests = ["--train", learning["abc"], "--train", learning["mtf"], "--validation"]
    words = ["--params", folder / "params.yaml", "--out", tmp_path / "run"]
    code, said = train("m3", *manifests, heard["abc"], *words)
    assert code == 0, said
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"model", "metrics.tsv"} <= made
    assert "resume" not in made
    assert said.strip().endswith("run/model")


def test_an_unknown_task_and_a_missing_manifest_are_named(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = place[0] / "params.yaml"
    code, said = train("m4", "--params", params)
    assert code == 1
    assert "expected one of m3, symbolic, audio, lora-abc, lora-mtf" in said
    code, said = train("m3", "--params", params)
    assert code == 1
    assert "data/manifests/pdmx-abc-train.jsonl" in said
    assert "no such manifest" in said


@pytest.mark.parametrize(
    ("name", "called", "expected"),
    [
        ("symbolic", "train_clamp_stage", {"start": "results/models/m3", "tokenizer": "None"}),
        ("audio", "train_clamp_stage", {"start": "results/models/clamp3-stages/symbolic"}),
        ("lora-mtf", "train_adapter", {"model": "results/models/clamp3", "modality": "mtf"}),
    ],
)
def test_each_task_begins_where_the_pipeline_would(place, monkeypatch, name, called, expected):
    folder, learning, _ = place
    asked = {}
    monkeypatch.setattr(f"clamp3.training.train_command.{called}", lambda **k: asked.update(k))
    monkeypatch.chdir(folder)
    given = Given([learning["abc"]], [learning["abc"]])
    assert str(run_training(name, folder / "params.yaml", None, given)).endswith(f"{name}/model")
    assert {key: str(asked[key]) for key in expected} == expected
    assert asked["manifests_train"] == [learning["abc"]]


def test_an_adapter_is_guarded_by_what_is_named_or_by_the_pipelines(place, tmp_path, monkeypatch):
    folder, learning, heard = place
    asked = {}
    monkeypatch.setattr("clamp3.training.train_command.train_adapter", lambda **k: asked.update(k))
    monkeypatch.chdir(tmp_path)
    words = ["--params", folder / "params.yaml", "--train", learning["abc"]]
    words += ["--validation", heard["abc"]]
    assert train("lora-abc", *words)[0] == 0
    assert asked["manifest_guard"] is None
    (tmp_path / "data/manifests").mkdir(parents=True)
    for name in ("wikimt_x-abc-test", "midicaps-mtf-test"):
        (tmp_path / f"data/manifests/{name}.jsonl").touch()
    for task, name in (("lora-abc", "wikimt_x-abc-test"), ("lora-mtf", "midicaps-mtf-test")):
        assert train(task, *words)[0] == 0
        assert asked["manifest_guard"].name == f"{name}.jsonl"
    assert train("lora-abc", *words, "--guard", heard["mtf"])[0] == 0
    assert asked["manifest_guard"] == heard["mtf"]


def test_tasks_are_those_of_the_settings():
    names = task_names(load_params(ROOT / "params.yaml"))
    assert names == ["m3", "symbolic", "audio", "lora-abc", "lora-mtf"]


def test_several_processes_are_launched(place, tmp_path, monkeypatch):
    params = yaml.safe_load((place[0] / "params.yaml").read_text())
    params["lora"]["training"]["processes"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    launched = []
    monkeypatch.setattr("clamp3.training.train_command._launch", launched.append)
    run_training("lora-abc", tmp_path / "params.yaml", tmp_path, Given())
    assert launched == [3]
