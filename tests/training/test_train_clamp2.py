"""CLaMP 2 from its own manifest to vectors."""

import json

import numpy as np
import pytest
import torch
import yaml
from repository import ROOT
from small_corpus import KEYS, m3_settings, make_corpus
from typer.testing import CliRunner

from clamp3 import load_model
from clamp3.cli import app
from clamp3.config import Clamp2Config, check
from clamp3.data.clamp2_pieces import copy_manifests
from clamp3.errors import ConfigError
from clamp3.files import read_jsonl
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import load_clamp, read_config, save_checkpoint
from clamp3.models.clamp import as_kind
from clamp3.models.m3 import M3Model
from clamp3.models.tokenizer import encode_texts
from clamp3.training.clamp import _contrast
from clamp3.training.contrast import read_pieces
from clamp3.training.text_dropout import fixed_text

GERMAN = {"C": "C-Dur", "G": "G-Dur", "D": "D-Dur", "A": "A-Dur", "F": "F-Dur", "Bb": "B-Dur"}


def clamp2_line(number, row, folder):
    """As the originals have them, with all that may be missing or another way round."""
    key = KEYS[number % len(KEYS)]
    english, other = f"A tune in {key} major.", f"Ein Stück in {GERMAN[key]}, schön gespielt."
    foreign = {"language": "German", "summary": other}
    stem = f"{folder}/Qm{number:03}"
    line = {"title": row["title"], "composer": None, "genres": row["genres"], "lyrics": None}
    line |= {"summary_en": [english], "summary_nen": [foreign, {"language": "Spanish"}]}
    odd = [
        {"summary_en": english, "summary_nen": foreign},
        {"summary_en": None},
        {"summary_nen": None, "title": None},
        {"summary_en": [], "title": None, "genres": None},
        {},
    ]
    return line | odd[number % 5] | {"filepaths": [f"{stem}.abc", f"{stem}.mtf"]}


def write_manifest(folder, count, name):
    rows = [row for _, row in read_jsonl(make_corpus(folder, count, name)["abc"])]
    lines = [clamp2_line(number, row, name) for number, row in enumerate(rows)]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Manifests with paths relative to them, an M3 and a params.yaml of the smallest models."""
    folder = tmp_path_factory.mktemp("clamp2")
    torch.manual_seed(0)
    save_checkpoint(M3Model(m3_settings().architecture), folder / "m3")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    own = params["clamp2"]
    own |= {"width": 32, "start": str(folder / "m3"), "logit_scale": 10.0}
    own["text"] |= {"vocabulary_size": 200, "hidden_size": 32, "layers": 1, "max_tokens": 24}
    own["training"] |= {"epochs": 2, "batch_size": 6, "warmup_steps": 2}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    train, heard = write_manifest(folder, 18, "train"), write_manifest(folder, 7, "validation")
    return folder, train, heard


def train(place, out, *words):
    folder, learned, heard = place
    command = ["train", "clamp2", "--params", folder / "params.yaml", "--out", out]
    command += ["--train", learned, "--validation", heard, *words]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0, done.output
    return out / "model"


@pytest.fixture(scope="module")
def model(place, tmp_path_factory):
    return train(place, tmp_path_factory.mktemp("run") / "clamp2")


def test_a_real_manifest_trains_a_clamp2(place, model):
    config = read_config(model)
    assert (config.kind, config.architecture.towers) == ("clamp2", ("text", "symbolic"))
    assert config.notes["keeps_unit_length"] is False
    table = (model.parent / "metrics.tsv").read_text()
    assert "reciprocal_rank_abc" in table
    assert "reciprocal_rank_mtf" in table
    assert not (model.parent / "resume").exists()


def test_without_validation_pieces_the_last_weights_are_kept(place, tmp_path):
    folder, learned, _ = place
    (folder / "empty.jsonl").touch()
    model = train((folder, learned, folder / "empty.jsonl"), tmp_path / "run")
    assert read_config(model).notes["best_epoch"] is None


def test_no_piece_is_left_out(place, caplog):
    folder, learned, _ = place
    copy_manifests([learned], folder / "copied.jsonl")
    pieces = read_pieces([folder / "copied.jsonl"], "symbolic", 64, text_dropout="clamp2")
    assert len(pieces.pairs) == 18
    assert "no text" not in caplog.text


def test_the_same_command_gives_the_same_weights(place, model, tmp_path):
    again = train(place, tmp_path / "again")
    for path in sorted(model.iterdir()):
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_tokenizer_reads_every_language_of_the_manifest(model):
    tokenizer = load_clamp(model, towers=["text"]).tokenizer
    (ids,) = encode_texts(tokenizer, ["Ein Stück in C-Dur, schön gespielt."])
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids[1:-1]) == "Ein Stück in C-Dur, schön gespielt."


def test_scores_are_embedded_as_they_were_trained_on(place, model):
    folder, _, _ = place
    score = (folder / "train/Qm001.abc").read_text()
    assert "L:1/8\n" in score
    embedder = load_model(model, device="cpu")
    assert len(embedder.embed(score=score, temporal=True)) == len(encode_patches(score))
    kept = load_model(model, device="cpu", keep_unit_length=True)
    assert len(kept.embed(score=score, temporal=True)) == len(encode_patches(score)) + 1


def test_one_goes_on_from_a_clamp2(place, model, tmp_path):
    further = train(place, tmp_path / "more", "--start", model)
    assert read_config(further).kind == "clamp2"
    one, other = load_clamp(model).model, load_clamp(further).model
    assert one.state_dict().keys() == other.state_dict().keys()
    names = [n for n, w in one.state_dict().items() if not torch.equal(w, other.state_dict()[n])]
    assert any(name.startswith("music_") for name in names)


def test_a_missing_manifest_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["train", "clamp2", "--params", str(ROOT / "params.yaml")])
    assert done.exit_code == 1
    assert "data/clamp2/train.jsonl: no such file" in done.output


def test_validation_reads_the_first_english_summary(place):
    settings = check(
        Clamp2Config, yaml.safe_load((ROOT / "params.yaml").read_text())["clamp2"], "x"
    )
    contrast = _contrast(settings, settings, place[0] / "m3", "summary_en")
    assert (contrast.modality, contrast.text_dropout) == ("symbolic", "clamp2")
    line = {"analysis": "In G.", "summary_en": ["One.", "Two."], "title": "T"}
    assert fixed_text(line, contrast.text_field) == "One."
    assert fixed_text(line | {"summary_en": "Only."}, contrast.text_field) == "Only."
    assert fixed_text(line | {"summary_en": None}, contrast.text_field) == "In G.\nT"


def test_both_towers_frozen_are_refused():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["clamp2"]
    with pytest.raises(ConfigError, match="leave nothing to train"):
        check(Clamp2Config, values | {"freeze_text": True, "freeze_music": True}, "clamp2")


def test_a_kind_is_renamed_and_back(model):
    loaded = load_clamp(model).model
    there = as_kind(loaded, "clamp3")
    assert as_kind(there, "clamp3") is there
    back = as_kind(there, "clamp2")
    for name, weight in loaded.state_dict().items():
        np.testing.assert_array_equal(back.state_dict()[name], weight)
