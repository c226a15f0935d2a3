"""`clamp3 import-weights` and `clamp3 export-weights`, as a user types them."""

import json
from pathlib import Path

import pytest
import torch
from models.formula import clamp_model, m3_model
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.models.tokenizer import save_tokenizer, train_tokenizer


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A CLaMP 3 and an M3 as the originals keep them, and the folder of a text model."""
    monkeypatch.chdir(tmp_path)
    torch.save({"model": clamp_model("K").state_dict()}, "weights_clamp3_t_length_16_x.pth")
    torch.save({"model": m3_model("K").state_dict()}, "m3.pth")
    Path("text").mkdir()
    save_tokenizer(train_tokenizer(["a calm waltz in C major"], 60), "text")
    Path("text/config.json").write_text('{"num_attention_heads": 4}')
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, words)


def test_weights_in_and_out(files):
    words = ["weights_clamp3_t_length_16_x.pth", "--out", "model", "--text-model", "text"]
    done = run("import-weights", *words, "--kind", "clamp3", "--licence", "MIT")
    assert done.exit_code == 0, done.output
    config = json.loads(Path("model/config.json").read_text())
    assert config["fingerprint"][:16] in done.output
    assert config["notes"]["licence"] == "MIT"
    assert config["architecture"]["text"]["max_tokens"] == 16
    done = run("export-weights", "model", "--out", "back.pth")
    assert done.exit_code == 0, done.output
    again = ["back.pth", "--out", "again", "--text-model", "text", "--precision", "bf16"]
    assert run("import-weights", *again).exit_code == 0
    half = Path("again/audio.safetensors").stat().st_size
    assert half < 0.6 * Path("model/audio.safetensors").stat().st_size


def test_a_fault_is_one_line(files):
    done = run("import-weights", "m3.pth", "--out", "m3", "--kind", "clamp3")
    assert done.exit_code == 1
    assert done.output == "error: m3.pth: holds the weights of m3, expected clamp3\n"
    assert not Path("m3").exists()
    assert run("export-weights", "nothing", "--out", "x.pth").exit_code == 1
