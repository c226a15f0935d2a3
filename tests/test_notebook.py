"""The notebook: without outputs, and each of its cells runs on a folder of recordings."""

import json
import sys
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch
from models.tiny_clap import sounds, tiny_config, tokenizer
from repository import ROOT

from clamp3 import load_model
from clamp3.models.clap_musicgen import ClapModel
from clamp3.models.clap_musicgen.checkpoints import save_clap
from clamp3.models.clap_musicgen.codec import draw_codebooks

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
COUNT = 7


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def save_model(folder):
    words = tokenizer()
    torch.manual_seed(4)
    model = ClapModel(tiny_config(words).model_copy(update={"chunk_seconds": 0.5})).eval()
    draw_codebooks(model.codec, np.random.default_rng(4))
    save_clap(model, folder, tokenizer=words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository with a model and recordings, as the demo leaves them, and a broken file."""
    root = tmp_path_factory.mktemp("repository")
    (root / "docs").mkdir()
    (root / "params.yaml").touch()
    (root / "results/models").mkdir(parents=True)
    save_model(root / "results/models/clap_musicgen")
    music = root / "data/recordings/part-00000-of-00001"
    music.mkdir(parents=True)
    for number, wave in enumerate(sounds(COUNT, seconds=0.8)):
        soundfile.write(music / f"s{number}.wav", wave, 32_000)
    (music / "broken.wav").write_bytes(b"RIFF and then nothing")
    (music / "notes.txt").write_text("no recording")
    return root


@pytest.fixture
def ipython(monkeypatch):
    """What the notebook imports of IPython, where there is none."""
    package, display = ModuleType("IPython"), ModuleType("IPython.display")
    package.version_info, package.get_ipython = (9, 0), lambda: None  # matplotlib asks for both
    package.display = display
    display.Audio = lambda filename: SimpleNamespace(filename=filename)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", display)


@pytest.fixture
def figures():
    """The figures that are open at the end; all are closed after the test."""
    before = plt.get_backend()
    plt.switch_backend("agg")
    yield plt.get_fignums
    plt.close("all")
    plt.switch_backend(before)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_holds_no_outputs(path):
    kept = [
        cell["id"]
        for cell in cells(path)
        if cell["cell_type"] == "code"
        and (cell["outputs"] or cell["execution_count"] is not None or cell["metadata"])
    ]
    assert kept == []


@pytest.mark.usefixtures("ipython")
def test_sentences_and_recordings_find_what_the_model_says(place, figures, monkeypatch, capsys):
    monkeypatch.chdir(place / "docs")
    played = []
    said, names = {}, {"display": lambda audio: played.append(audio.filename)}
    for cell in cells(ROOT / "docs/clap-musicgen.ipynb"):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
            said[cell["id"]] = capsys.readouterr().out.splitlines()
    assert said["embed"][0] == f"{COUNT} recordings, 24 numbers each"
    assert "broken.wav" in said["embed"][1]
    assert len(said["embed"]) == 2

    music = place / "data/recordings"
    paths = sorted(music.rglob("s*.wav"))
    model = load_model(place / "results/models/clap_musicgen")
    heard = model.embed_audio(paths)
    order = []
    for sentence in names["SENTENCES"]:
        cosines = heard @ model.embed_text(sentence)
        best = sorted(range(COUNT), key=lambda row: -cosines[row])[:5]
        order += [best[0]]
        lines = said["text-audio"][: 1 + len(best)]
        said["text-audio"] = said["text-audio"][1 + len(best) :]
        assert lines[0] == sentence
        assert [line.split()[1] for line in lines[1:]] == [
            paths[row].relative_to(music).as_posix() for row in best
        ]
        shown = [float(line.split()[0]) for line in lines[1:]]
        assert np.allclose(shown, cosines[best], atol=1e-3)
    assert said["audio-audio"][:2] == ["like s0.wav", "  1.000  part-00000-of-00001/s0.wav"]
    assert played == [str(paths[row]) for row in (*order, 0)]

    assert np.allclose(names["among_music"], heard @ heard.T, atol=1e-4)
    assert names["with_texts"].shape == (len(names["SENTENCES"]), COUNT)
    assert len(figures()) == 1
    assert not list((place / "docs").iterdir())
