"""Images in a folder of everything: embedded as what a captioner says, or told why not."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from models.blip import tiny_blip
from PIL import Image
from retrieval.commands import run
from retrieval.workplace import score

from clamp3 import load_model
from clamp3.errors import ConfigError, FormatError
from clamp3.models.captions import Captioner

CAPTIONED = ["cover.jpg", "sub/Scan.PNG", "sub/plain.webp"]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    return tiny_blip(tmp_path_factory.mktemp("captioner") / "blip")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "music"
    (place / "sub").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(place / "cover.jpg")
    Image.fromarray(noise[:, :20]).save(place / "sub/Scan.PNG")
    Image.fromarray(noise // 4).save(place / "sub/plain.webp", lossless=True)
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    (place / "a.abc").write_text(score(1), encoding="utf-8")
    (place / "a.txt").write_text("a reel in D", encoding="utf-8")
    return place


def said(captioner, path):
    with Image.open(path) as image:
        return Captioner.load(captioner, "cpu").describe([np.array(image)])[0]


def test_an_image_is_what_is_said_of_it(model_folder, folder, captioner):
    model = load_model(model_folder, device="cpu", captioner=captioner)
    found = model.embed_files(folder)
    assert found.ids == ["a.abc", "a.txt", *CAPTIONED]
    assert found.modalities == ["abc", "text", *["image"] * 3]
    assert [(name, error.kind) for name, error in found.rejected] == [
        ("broken.png", "unreadable_image")
    ]
    for name, vector in zip(found.ids[2:], found.embeddings[2:], strict=True):
        expected = model.embed_text(said(captioner, folder / name))
        assert np.allclose(vector, expected, atol=1e-5)
        assert np.allclose(model.embed(image=folder / name), expected, atol=1e-5)
        content = (folder / name).read_bytes()
        assert np.allclose(model.embed(image=content), expected, atol=1e-5)
    assert model.embed(image=folder / "cover.jpg", temporal=True).ndim == 2


def test_without_a_captioner_it_is_told(model_folder, folder):
    model = load_model(model_folder, device="cpu")
    found = model.embed_files(folder)
    assert found.ids == ["a.abc", "a.txt"]
    refused = dict(found.rejected)
    assert sorted(refused) == sorted([*CAPTIONED, "broken.png"])
    for error in refused.values():
        assert error.kind == "no_captioner"
        assert "--captioner" in str(error)
    with pytest.raises(ConfigError, match="--captioner"):
        model.embed(image=folder / "cover.jpg")


def test_an_image_is_no_score_and_a_score_no_image(model_folder, folder, captioner):
    model = load_model(model_folder, device="cpu", captioner=captioner)
    with pytest.raises(FormatError, match="hold text, expected image"):
        model.embed(image=folder / "a.txt")
    with pytest.raises(FormatError, match="hold image"):
        model.embed(score=folder / "cover.jpg")
    with pytest.raises(ConfigError, match="looks like a file name"):
        model.embed(image="cover.jpg")


def test_the_command_embeds_and_searches_images(
    model_folder, folder, captioner, tmp_path, monkeypatch
):
    out = tmp_path / "vectors.parquet"
    words = ["embed", folder, out, "--model", model_folder, "--device", "cpu"]
    done = run(*words, "--captioner", captioner)
    assert "6 in, 5 out, 1 rejected" in done.stderr
    table = pq.read_table(out).to_pydict()
    assert table["modality"] == ["abc", "text", "image", "image", "image"]
    query = [folder / "cover.jpg", out, "--model", model_folder, "--device", "cpu"]
    found = run("search", *query, "--captioner", captioner, "--modality", "image").stdout
    assert found.splitlines()[0].split("\t")[1:] == ["1.0000", "cover.jpg", "image"]
    assert len(found.splitlines()) == 3
    with monkeypatch.context() as patch:
        patch.setattr(Captioner, "describe", lambda *_: pytest.fail("computed again"))
        run(*words, "--captioner", captioner)
    refused = run("search", *query)
    assert refused.exit_code == 1
    assert "--captioner" in refused.stderr


def test_another_captioner_computes_again(model_folder, folder, captioner, tmp_path):
    out = tmp_path / "vectors.parquet"
    words = ["embed", folder, out, "--model", model_folder, "--device", "cpu", "--captioner"]
    run(*words, captioner)
    before = pq.read_table(out).to_pydict()
    other = tiny_blip(tmp_path / "other")
    settings = json.loads((other / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings["image_mean"] = [0.1, 0.9, 0.2]
    (other / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    run(*words, other)
    after = pq.read_table(out).to_pydict()
    assert after["id"] == before["id"]
    assert after["embedding"][:2] == before["embedding"][:2]
    assert after["embedding"][2:] != before["embedding"][2:]


def test_processes_read_images(model_folder, folder, captioner, tmp_path):
    here, beside = tmp_path / "here.parquet", tmp_path / "beside.parquet"
    words = ["--model", model_folder, "--device", "cpu", "--captioner", captioner]
    run("embed", folder, here, *words, "--workers", 0)
    run("embed", folder, beside, *words, "--workers", 1)
    assert pq.read_table(here).equals(pq.read_table(beside))


def test_a_hub_name_stays_a_name(model_folder, monkeypatch, captioner):
    asked = []
    monkeypatch.setattr(
        "clamp3.models.captions.captioner_folder", lambda name: asked.append(name) or captioner
    )
    monkeypatch.setattr(
        "clamp3.models.mert.MertFrontEnd", lambda name, device: asked.append(name) or device
    )
    model = load_model(model_folder, device="cpu", captioner="owner/blip", mert="owner/mert")
    model.engine.captioner()
    model.engine.front_end()
    assert asked == ["owner/blip", "owner/mert"]
