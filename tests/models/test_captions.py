"""Images in words: a tiny BLIP against a plain loop, and what is wrong with folders."""

import shutil

import numpy as np
import pytest
import torch
from damage import LFS_POINTER, change_json, change_tensors, drop
from models.blip import SIDE, tiny_blip
from safetensors.torch import load_file
from transformers import BertTokenizer, BlipForConditionalGeneration, BlipImageProcessorPil

from clamp3.errors import CheckpointError
from clamp3.models.captions import BATCH, MOST_TOKENS, Captioner, captioner_hash


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_blip(tmp_path_factory.mktemp("models") / "blip")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def images():
    """More than a batch, of all shapes; 3 rows or columns look like channels."""
    rng = np.random.default_rng(0)
    shapes = [(20, 50), (3, 3), (3, 40), (200, 100), (SIDE, SIDE), (1, 1)]
    noise = [rng.integers(0, 256, (*shape, 3)).astype(np.uint8) for shape in shapes]
    return noise + [np.full((9, 9, 3), 40 * step, np.uint8) for step in range(BATCH - 3)]


def plainly(folder, image):
    """The likeliest word after word, with everything computed anew for each."""
    model = BlipForConditionalGeneration.from_pretrained(folder).eval()
    processor = BlipImageProcessorPil.from_pretrained(folder)
    pixels = processor(images=image, return_tensors="pt", input_data_format="channels_last")
    tokens = [model.config.text_config.bos_token_id]
    with torch.inference_mode():
        seen = model.vision_model(pixel_values=pixels["pixel_values"])[0]
        while len(tokens) < MOST_TOKENS:
            scores = model.text_decoder(torch.tensor([tokens]), encoder_hidden_states=seen).logits
            tokens.append(int(scores[0, -1].argmax()))
            if tokens[-1] == model.config.text_config.sep_token_id:
                break
    return BertTokenizer.from_pretrained(folder).decode(tokens[1:], skip_special_tokens=True)


def test_the_words_are_those_of_a_plain_loop(folder, images):
    captioner = Captioner.load(folder, "cpu")
    said = captioner.describe(images)
    assert len(said) == len(images) > BATCH
    assert len(set(said)) > 3
    assert not any("[" in text for text in said)
    assert captioner.describe(images) == said
    for place in (0, 2, len(images) - 1):
        assert plainly(folder, images[place]) == said[place]
    assert captioner.describe([]) == []


def test_pickled_weights_say_the_same(folder, copy, images):
    state = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    expected = Captioner.load(folder, "cpu").describe(images[:2])
    assert Captioner.load(copy, "cpu").describe(images[:2]) == expected


def test_the_fingerprint_follows_the_files(folder, copy):
    assert captioner_hash(copy) == captioner_hash(folder)
    path = copy / "preprocessor_config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert captioner_hash(copy) != captioner_hash(folder)


def lacking(name):
    return lambda folder: (folder / name).unlink()


def holding(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without_vocabulary(folder):
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").unlink()


def pickled(content):
    """Weights as older folders have them, which are this."""

    def damage(folder):
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)

    return damage


def of_another_kind(folder):
    change_json(folder / "config.json", lambda content: content.update(model_type="clip"))


def without_a_tensor(folder):
    change_tensors(folder / "model.safetensors", drop("vision_model.post_layernorm.weight"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lacking("config.json"), "config.json: no such file; expected the folder of a BLIP"),
        (lacking("model.safetensors"), "holds neither model.safetensors nor pytorch_model.bin"),
        (lacking("preprocessor_config.json"), "preprocessor_config.json: no such file"),
        (without_vocabulary, "holds neither tokenizer.json nor vocab.txt"),
        (holding("model.safetensors", b"nothing"), "model.safetensors: cannot be read"),
        (holding("model.safetensors", LFS_POINTER), "model.safetensors: .*git lfs pull"),
        (pickled(LFS_POINTER), r"pytorch_model.bin: cannot be read \(a Git LFS pointer"),
        (pickled(b""), r"pytorch_model.bin: cannot be read \(it is empty"),
        (pickled(b"<html>"), r"pytorch_model.bin: cannot be read \(a web page"),
        (holding("tokenizer.json", b"{"), "tokenizer cannot be read"),
        (holding("preprocessor_config.json", b"{"), "preprocessor_config.json: cannot be read"),
        (of_another_kind, "model_type is clip, expected blip"),
        (without_a_tensor, "lacks the tensor vision_model.post_layernorm.weight"),
    ],
)
def test_a_damaged_folder_is_told(copy, damage, message):
    damage(copy)
    with pytest.raises(CheckpointError, match=message):
        Captioner.load(copy, "cpu")


def test_no_folder_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="BLIP"):
        Captioner.load(tmp_path / "nowhere", "cpu")


def test_a_name_on_the_hub_prefers_safetensors(folder, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns[-1]))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert captioner_hash("owner/blip") == captioner_hash(folder)
    assert asked == [("owner/blip", "model*.safetensors.index.json")]
