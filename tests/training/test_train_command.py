"""`clamp3 train`: any training of params.yaml outside the pipeline."""

import pytest
import yaml
from repository import ROOT
from small_corpus import make_corpus
from training.clap_corpus import make_clap_corpus, settings
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.config import load_params
from clamp3.data.listing import list_parts
from clamp3.models.clap_musicgen.checkpoints import load_clap
from clamp3.models.clap_musicgen.pretrained import load_text
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
    assert "expected one of m3, audio, symbolic, lora-abc, lora-mtf, clap-text, clap-h" in said
    code, said = train("m3", "--params", params)
    assert code == 1
    assert "data/manifests/pdmx-abc-train.jsonl" in said
    assert "no such file; name yours with --train" in said


@pytest.mark.parametrize(
    ("name", "called", "expected"),
    [
        ("audio", "train_clamp_stage", {"start": "results/models/m3", "tokenizer": "None"}),
        ("symbolic", "train_clamp_stage", {"start": "results/models/clamp3-stages/audio"}),
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
    clamp = ["m3", "audio", "symbolic", "lora-abc", "lora-mtf"]
    assert names == [*clamp, "clap-text", "clap-heads", "clamp2"]


def test_several_processes_are_launched(place, tmp_path, monkeypatch):
    params = yaml.safe_load((place[0] / "params.yaml").read_text())
    params["lora"]["training"]["processes"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    launched = []
    monkeypatch.setattr("clamp3.training.train_command._launch", launched.append)
    run_training("lora-abc", tmp_path / "params.yaml", tmp_path, Given())
    assert [(settings.nodes, settings.processes) for settings in launched] == [(1, 3)]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Recordings, a tiny MusicGen's states of them, and a params.yaml of a tiny CLAP-MusicGen."""
    folder = tmp_path_factory.mktemp("sounds")
    make_clap_corpus(folder, 9, 5)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = settings(folder).model_dump(mode="json")
    for section in ("codes", "states", "clap_text", "clap_heads"):
        params[section] = {key: small[key] for key in params[section]}
    for trained in (params["clap_text"]["masked_text"], params["clap_heads"]):
        trained["training"]["epochs"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    words = ["--params", folder / "params.yaml", "--train", folder / "train.jsonl"]
    return folder, [*words, "--validation", folder / "validation.jsonl"]


def test_a_clap_musicgen_is_trained_from_the_command_line(sounds, tmp_path):
    folder, words = sounds
    code, said = train("clap-text", *words, "--out", tmp_path / "text")
    assert code == 0, said
    begun = tmp_path / "text/model"
    sizes, _ = load_text(begun, 40)
    assert sizes.hidden_size == 64
    tables = [folder / f"{name}-states.parquet" for name in ("train", "validation")]
    given = [word for table in tables for word in ("--states", table)]
    out = ["--start", begun, "--out", tmp_path / "heads"]
    code, said = train("clap-heads", *words, *given, *out)
    assert code == 0, said
    assert said.strip().endswith("heads/model")
    assert {path.name for path in (tmp_path / "heads").iterdir()} == {"model", "metrics.tsv"}
    loaded = load_clap(tmp_path / "heads/model")
    assert loaded.model.config.width == 24
    assert loaded.tokenizer is not None


def test_captions_tune_the_model_that_is_named(sounds, tmp_path):
    _, words = sounds
    assert train("clap-text", *words, "--out", tmp_path / "first")[0] == 0
    begun = tmp_path / "first/model"
    assert train("clap-text", *words, "--start", begun, "--out", tmp_path / "second")[0] == 0
    first, second = (load_text(tmp_path / name / "model", 40)[1] for name in ("first", "second"))
    name = "embeddings.word_embeddings.weight"
    change = (first.state_dict()[name] - second.state_dict()[name]).abs()
    assert 0 < change.mean() < 0.01 < first.state_dict()[name].abs().mean()


def test_a_clap_musicgen_begins_where_the_pipeline_would(sounds, tmp_path, monkeypatch):
    folder, words = sounds
    monkeypatch.chdir(tmp_path)
    place = "clamp3.training.train_command.train_clap_musicgen"
    code, said = train("clap-heads", *words)
    assert code == 1
    assert "data/states/parts.tsv: no such file" in said
    asked = {}
    monkeypatch.setattr(place, lambda **how: asked.update(how))
    states = tmp_path / "data/states"
    states.mkdir(parents=True)
    for number, name in enumerate(("train", "validation")):
        table = (folder / f"{name}-states.parquet").read_bytes()
        (states / f"part-{number:05d}-of-00002.parquet").write_bytes(table)
    list_parts(states, 2, states / "parts.tsv")
    (tmp_path / "data/manifests").mkdir()
    for split in ("train", "validation"):
        (tmp_path / f"data/manifests/pdmx-audio-{split}.jsonl").touch()
    code, said = train("clap-heads", "--params", folder / "params.yaml")
    assert code == 0, said
    assert str(asked["text_model"]) == "results/models/clap_text"
    assert [path.name for path in asked["states"]] == [
        "part-00000-of-00002.parquet",
        "part-00001-of-00002.parquet",
    ]
    assert str(asked["manifests_train"][0]) == "data/manifests/pdmx-audio-train.jsonl"
    assert str(asked["out"]) == "results/trainings/clap-heads/model"
    assert asked["settings"] == settings(folder).model_copy(
        update={
            "training": asked["settings"].training,
            "masked_text": asked["settings"].masked_text,
        }
    )


def test_what_clap_musicgen_lacks_is_told(sounds, tmp_path, monkeypatch):
    folder, words = sounds
    monkeypatch.chdir(tmp_path)
    code, said = train("clap-heads", *words, "--states", folder / "train-states.parquet")
    assert code == 1
    assert "results/models/clap_text" in said
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["clap_heads"]["training"]["processes"] = 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    code, said = train("clap-heads", *words, "--params", tmp_path / "params.yaml")
    assert code == 1
    assert "expected 1 process" in said
