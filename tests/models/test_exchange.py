"""The originals' .pth files as checkpoint folders, and back."""

import json

import numpy as np
import pytest
import torch
from formula import PUBLISHED_NAME, assert_same_weights, clamp_model, m3_model, write_published
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open

from clamp3.errors import CheckpointError
from clamp3.files import sha256_of
from clamp3.models import exchange
from clamp3.models.checkpoints import load_clamp, load_m3, read_config, save_checkpoint
from clamp3.models.clamp import ClampModel
from clamp3.models.exchange import export_weights, import_weights
from clamp3.models.tokenizer import (
    encode_texts,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

TEXTS = ["a calm waltz in C major for piano", "the violin plays sad chords", "A walking bass"]


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """A folder as a text model's: a tokenizer, and how many heads there are."""
    folder = tmp_path_factory.mktemp("text") / "xlmr_tiny"
    folder.mkdir()
    save_tokenizer(train_tokenizer(TEXTS, 120), folder)
    settings = {"vocab_size": 599, "hidden_size": 64, "num_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("kind", ["clamp3", "clamp2"])
def test_a_file_becomes_a_folder_with_a_part_for_each_tower(tmp_path, text_model, kind):
    model = clamp_model("K", kind)
    path = write_published(tmp_path, model, epoch=3, min_eval_loss=np.float64(1.5))
    fingerprint = import_weights(path, tmp_path / "out", text_model=text_model, kind=kind)
    loaded = load_clamp(tmp_path / "out", verify=True)
    assert loaded.fingerprint == fingerprint
    assert_same_weights(loaded.model, model)
    assert (loaded.config.text.num_attention_heads, loaded.config.text.max_tokens) == (4, 16)
    towers = {"text", "symbolic"} | ({"audio"} if kind == "clamp3" else set())
    assert {p.stem for p in (tmp_path / "out").glob("*.safetensors")} == towers
    notes = read_config(tmp_path / "out").notes
    assert (notes["epoch"], notes["min_eval_loss"], notes["tokenizer"]) == (3, 1.5, "xlmr_tiny")
    assert (notes["source"], notes["licence"], len(notes["source_sha256"])) == (
        PUBLISHED_NAME,
        None,
        64,
    )


def test_m3_needs_no_text_model(tmp_path):
    model = m3_model("K")
    import_weights(write_published(tmp_path, model), tmp_path / "m3", kind="m3", licence="CC0-1.0")
    assert_same_weights(load_m3(tmp_path / "m3", verify=True), model)
    assert read_config(tmp_path / "m3").notes["licence"] == "CC0-1.0"


@pytest.mark.parametrize(("word", "dtype"), [("bfloat16", "BF16"), ("float16", "F16")])
def test_half_precision_is_stored_and_loads_as_asked(tmp_path, text_model, word, dtype):
    path = write_published(tmp_path, clamp_model("K"))
    import_weights(path, tmp_path / "half", text_model=text_model, dtype=word)
    with safe_open(tmp_path / "half" / "audio.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {dtype}  # noqa: SIM118
    whole = load_clamp(tmp_path / "half").model
    half = load_clamp(tmp_path / "half", dtype=getattr(torch, word)).model
    assert {p.dtype for p in whole.parameters()} == {torch.float32}
    assert {p.dtype for p in half.parameters()} == {getattr(torch, word)}
    assert_same_weights(whole, half.float())


@pytest.mark.parametrize("kind", ["clamp3", "clamp2", "m3"])
def test_what_is_exported_and_imported_is_the_same(tmp_path, text_model, kind):
    model = m3_model("K") if kind == "m3" else clamp_model("K", kind)
    path = write_published(tmp_path, model, epoch=7)
    options = {} if kind == "m3" else {"text_model": text_model}
    first = import_weights(path, tmp_path / "first", **options)
    exported = export_weights(tmp_path / "first", tmp_path / "pth")
    assert exported.parent == tmp_path / "pth"
    second = import_weights(exported.rename(tmp_path / "x.pth"), tmp_path / "second", **options)
    assert first == second
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert content["epoch"] == 7
    assert content["model"].keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    "change",
    [
        {"audio": None},
        {"similarity": "cosine"},
        {"audio": {"feature_size": 20}},
        {"symbolic": {"decoder_layers": 2}},
    ],
)
def test_models_that_the_originals_have_not_come_back_too(tmp_path, text_model, change):
    config = clamp_model("K").config
    parts = {
        name: getattr(config, name).model_copy(update=part) if isinstance(part, dict) else part
        for name, part in change.items()
    }
    tokenizer = load_tokenizer(text_model)
    model = ClampModel(config.model_copy(update=parts))
    fingerprint = save_checkpoint(model, tmp_path / "own", tokenizer=tokenizer)
    exported = export_weights(tmp_path / "own", tmp_path / "own.pth")
    # The folder itself serves as the text model.
    assert import_weights(exported, tmp_path / "x", text_model=tmp_path / "own") == fingerprint


def test_what_half_precision_cannot_hold_is_refused(tmp_path, text_model):
    model = clamp_model("K")
    with torch.no_grad():
        model.text_proj.weight[0, 0] = 1e6
    path = write_published(tmp_path, model)
    import_weights(path, tmp_path / "bf16", text_model=text_model, dtype="bfloat16")
    with pytest.raises(CheckpointError, match="too large for float16"):
        import_weights(path, tmp_path / "f16", text_model=text_model, dtype="float16")
    assert not (tmp_path / "f16").exists()


def test_without_a_network_the_text_model_can_be_given(tmp_path, monkeypatch):
    def offline(name, allow_patterns):
        raise LocalEntryNotFoundError("")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    path = write_published(tmp_path, clamp_model("K"))
    with pytest.raises(CheckpointError, match=r"download its tokenizer\.json .*--text-model"):
        import_weights(path, tmp_path / "out", text_heads=4)


def test_a_known_file_is_recognised(tmp_path, text_model, monkeypatch):
    path = write_published(tmp_path, clamp_model("K"))
    monkeypatch.setitem(exchange.RECOGNISED, sha256_of(path), ("CLaMP 3 SAAS", "MIT"))
    import_weights(path, tmp_path / "out", text_model=text_model)
    notes = read_config(tmp_path / "out").notes
    assert (notes["name"], notes["licence"]) == ("CLaMP 3 SAAS", "MIT")


def test_an_export_is_named_by_the_published_scheme(tmp_path, text_model):
    import_weights(
        write_published(tmp_path, clamp_model("K")), tmp_path / "c", text_model=text_model
    )
    assert export_weights(tmp_path / "c", tmp_path).name == (
        "weights_clamp3_h_size_32_t_length_16_a_size_64_a_layers_1_a_length_16_s_size_64_"
        "s_layers_1_p_size_16_p_length_8.pth"
    )
    save_checkpoint(m3_model("K"), tmp_path / "m3")
    assert export_weights(tmp_path / "m3", tmp_path).name == (
        "weights_m3_h_size_64_t_layers_1_p_layers_1_p_size_16_p_length_8.pth"
    )
    assert export_weights(tmp_path / "m3", tmp_path / "mine.pth") == tmp_path / "mine.pth"


def test_what_does_not_fit_is_one_sentence(tmp_path, text_model):
    path = write_published(tmp_path, clamp_model("K"))
    with pytest.raises(CheckpointError, match="no such file"):
        import_weights(tmp_path / "nothing.pth", tmp_path / "out", text_model=text_model)
    with pytest.raises(CheckpointError, match=r"weights of clamp3, expected m3"):
        import_weights(path, tmp_path / "out", text_model=text_model, kind="m3")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file"):
        import_weights(path, tmp_path / "out", text_model=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_fewer_tokens_is_told(tmp_path, text_model, caplog):
    """As RoBERTa's, whose special tokens are XLM-R's, where no config.json tells."""
    import_weights(
        write_published(tmp_path, clamp_model("K")), tmp_path / "out", text_model=text_model
    )
    assert "tokens, the text model 599: is it another model's?" in caplog.text


def test_another_text_model_is_refused(tmp_path, text_model):
    path = write_published(tmp_path, clamp_model("K"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_bytes((text_model / "tokenizer.json").read_bytes())
    (other / "config.json").write_text('{"hidden_size": 768, "num_attention_heads": 4}')
    with pytest.raises(CheckpointError, match=r"hidden_size is 768, but the weights .* with 64"):
        import_weights(path, tmp_path / "out", text_model=other)


def test_a_separator_that_was_not_special_becomes_so(tmp_path, text_model):
    folder = degenerate(text_model, tmp_path / "tokenizer", separator_as_letters)
    path = write_published(tmp_path, clamp_model("K"))
    import_weights(path, tmp_path / "out", text_model=folder, text_heads=4)
    expected = encode_texts(load_tokenizer(text_model), ["a waltz\nin C"])
    assert encode_texts(load_clamp(tmp_path / "out").tokenizer, ["a waltz\nin C"]) == expected
    assert expected[0].count(2) == 2


def degenerate(text_model, folder, change):
    """A folder with a changed tokenizer."""
    content = json.loads((text_model / "tokenizer.json").read_text())
    change(content)
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def all_unknown(content):
    special = {token["content"] for token in content["added_tokens"]}
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {t: i for t, i in vocabulary.items() if t in special}
    content["model"]["merges"] = []


def without_padding(content):
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "<pad>"]
    content["model"]["vocab"].pop("<pad>", None)


def swapped(content):
    ids = {"<s>": 2, "</s>": 0}
    content["model"]["vocab"] |= ids
    for token in content["added_tokens"]:
        token["id"] = ids.get(token["content"], token["id"])


def separator_as_letters(content):
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "</s>"]


def without_frame(content):
    content["post_processor"] = None


def too_large(content):
    content["model"]["vocab"] |= {f"word{n}": 500 + n for n in range(200)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (all_unknown, "knows none of the words"),
        (too_large, "the id 699, the text model 599"),
        (without_padding, "special tokens are .*'<pad>': None"),
        (swapped, "special tokens are .*expected 0, 1, 2, 3"),
        (without_frame, "a text of two lines becomes"),
    ],
)
def test_a_degenerate_tokenizer_is_refused(tmp_path, text_model, change, message):
    path = write_published(tmp_path, clamp_model("K"))
    folder = degenerate(text_model, tmp_path / "tokenizer", change)
    with pytest.raises(CheckpointError, match=message):
        import_weights(path, tmp_path / "out", text_model=folder, text_heads=4)
