"""Every kind of model that `load_model` gives: CLAP-MusicGen, CLaMP 2, adapters, a captioner."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from models.blip import tiny_blip
from models.formula import m3_model
from models.tiny_clap import Original, sounds
from PIL import Image
from repository import ROOT
from retrieval.workplace import formula_weights, score, tiny_model
from service.conftest import index_of, tune, write_scores
from service.live import serving

from clamp3.config import load_params
from clamp3.errors import ConfigError, DataError
from clamp3.models.captions import Captioner
from clamp3.models.checkpoints import load_clamp, save_checkpoint
from clamp3.models.clamp import ClampModel
from clamp3.models.lora import add_lora, save_adapter
from clamp3.retrieval.embedding.embedder import Embedder, load_model
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.vectors import Vectors, write_vectors
from clamp3.service.app import create_app

pytestmark = pytest.mark.filterwarnings(  # peft asks transformers by an old name
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)


def test_a_clap_musicgen_reads_texts_and_sound(tmp_path: Path):
    model = load_model(Original().save(tmp_path / "clap"), device="cpu")
    music = tmp_path / "music"
    music.mkdir()
    for number, wave in enumerate(sounds(3)):
        soundfile.write(music / f"{number}.wav", wave, 32_000, subtype="FLOAT")
    folder = index_of(model, music, tmp_path)
    with serving(model, folder) as live:
        info = live.client.get("/api/info").json()["model"]
        assert info["kind"] == "clap_musicgen"
        assert info["modalities"] == ["text", "audio"]
        found = live.search(text="dark metal")
        hits = open_index(folder).search(model.embed_text("dark metal"), 3)
        assert [one["id"] for one in found["results"]] == [hit.id for hit in hits]
        found = live.upload("x.wav", (music / "1.wav").read_bytes(), top_k=1)
        assert found.status_code == 200, found.text
        assert found.json()["results"][0]["id"] == "1.wav"
        assert found.json()["query"]["kind"] == "audio"
        refused = live.upload("x.abc", tune(1).encode(), top_k=1)
        assert refused.status_code == 422
        assert refused.json() == {
            "error": "the model has no abc tower to read it",
            "kind": "no_tower",
        }


def test_a_clamp2_reads_texts_and_scores(tmp_path: Path):
    tiny = tiny_model()
    config = tiny.config.model_copy(update={"kind": "clamp2", "audio": None})
    clamp2 = ClampModel(config)
    formula_weights(clamp2)
    save_checkpoint(clamp2, tmp_path / "clamp2", tokenizer=tiny.tokenizer)
    model = load_model(tmp_path / "clamp2", device="cpu")
    music = write_scores(tmp_path / "music", (f"L:1/8\n{tune(number)}" for number in range(4)))
    folder = index_of(model, music, tmp_path)
    with serving(model, folder) as live:
        assert live.client.get("/api/info").json()["model"]["kind"] == "clamp2"
        found = live.upload("x.abc", (music / "2.abc").read_bytes(), top_k=1).json()["results"][0]
        assert found["id"] == "2.abc"
        assert found["similarity"] == pytest.approx(1, abs=1e-6)
        refused = live.upload("x.wav", _sound(), top_k=1)
        assert refused.status_code == 422
        assert refused.json()["kind"] == "no_tower"


def test_a_model_that_needs_a_mert_says_so_without_its_place(tmp_path: Path):
    tiny = tiny_model()
    save_checkpoint(tiny.model, tmp_path / "model", tokenizer=tiny.tokenizer)
    model = load_model(tmp_path / "model", device="cpu")
    music = write_scores(tmp_path / "music", [tune(1)])
    with serving(model, index_of(model, music, tmp_path)) as live:
        assert live.client.get("/api/info").json()["model"]["modalities"] == ["text", "abc", "mtf"]
        refused = live.upload("x.wav", _sound(), top_k=1)
        assert refused.status_code == 422
        assert refused.json()["kind"] == "no_front_end"
        assert refused.json()["error"].startswith(
            "the model: reads recordings as frames of width 6"
        )
        assert str(tmp_path) not in refused.text


def test_adapters_read_scores(model_folder: Path, tmp_path: Path):
    adapted = load_clamp(model_folder).model
    torch.manual_seed(0)
    add_lora(adapted, load_params(ROOT / "params.yaml").lora)
    for weight, tensor in adapted.named_parameters():
        if "lora_B" in weight:
            torch.nn.init.normal_(tensor, std=0.2)
    save_adapter(adapted, tmp_path / "abc")
    model = load_model(model_folder, adapter=[f"abc={tmp_path / 'abc'}"], device="cpu")
    music = write_scores(tmp_path / "music", map(score, range(4)))
    folder = index_of(model, music, tmp_path)
    with serving(model, folder) as live:
        found = live.upload("x.abc", (music / "2.abc").read_bytes(), top_k=1).json()["results"][0]
        assert (found["id"], found["similarity"]) == ("2.abc", pytest.approx(1, abs=1e-6))
    plain = load_model(model_folder, device="cpu")
    with serving(plain, folder) as live:
        found = live.upload("x.abc", (music / "2.abc").read_bytes(), top_k=1).json()["results"][0]
        assert found["similarity"] < 0.9999


def test_an_image_is_searched_with_what_is_said_of_it(
    model_folder: Path, index: Path, tmp_path: Path
):
    captioner = tiny_blip(tmp_path / "blip")
    model = load_model(model_folder, captioner=captioner, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cover.png")
    caption = Captioner.load(captioner, "cpu").describe([pixels])[0]
    with serving(model, index) as live:
        assert "image" in live.client.get("/api/info").json()["model"]["modalities"]
        found = live.upload("cover.png", (tmp_path / "cover.png").read_bytes(), top_k=1).json()
        told = {"kind": "image", "text": None, "file": "cover.png", "caption": caption}
        assert found["query"] == told
        said = live.search(text=caption, top_k=1)
        assert found["results"][0]["id"] == said["results"][0]["id"]


def test_an_m3_is_refused(index: Path, tmp_path: Path):
    save_checkpoint(m3_model("K"), tmp_path / "m3")
    with pytest.raises(ConfigError, match="an M3, which has no space to search in"):
        create_app(load_model(tmp_path / "m3", device="cpu"), index)


def test_an_index_of_another_model_is_refused(model: Embedder, tmp_path: Path):
    origin = replace(model.origin(["abc"]), space="5" * 64, fingerprint="5" * 64)
    matrix = np.ones((1, 16), np.float32)
    write_vectors(tmp_path / "v.parquet", Vectors(["a"], matrix, origin))
    build_index(tmp_path / "index", [tmp_path / "v.parquet"])
    with pytest.raises(DataError, match="vectors of two models cannot be compared"):
        create_app(model, tmp_path / "index")
    with pytest.raises(DataError, match="no index"):
        create_app(model, tmp_path / "nothing")


def _sound() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000), 16_000, format="WAV")
    return file.getvalue()
