"""The originals' .pth files."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from damage import LFS_POINTER
from formula import (
    PUBLISHED_NAME,
    SIZES,
    assert_same_weights,
    clamp_model,
    m3_model,
    values,
    whole_m3_piece,
    whole_piece,
    write_published,
)
from safetensors.torch import save_file

from clamp3.errors import CheckpointError
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import load_clamp, load_m3, save_checkpoint
from clamp3.models.m3 import M3Model
from clamp3.models.pooling import add_silence
from clamp3.models.published import read_published
from clamp3.models.tokenizer import encode_texts, load_tokenizer


@pytest.fixture
def real(goldens):
    """The folder of two checkpoints that the originals wrote."""
    return goldens / "models" / "ckpt"


def check(arrays, name, hidden, vector=None):
    np.testing.assert_allclose(
        hidden.numpy()[None], arrays[f"{name[0]}/{name[1]}"], atol=2e-5, rtol=0
    )
    if vector is not None:
        expected = arrays[f"clamp3_global/{name[1]}"][0]
        np.testing.assert_allclose(vector.numpy(), expected, atol=1e-5, rtol=0)


def test_a_real_clamp3_file_gives_the_recorded_features(real, goldens, tmp_path):
    source = next(real.glob("weights_clamp3_*.pth"))
    published = read_published(source, text_heads=4)
    tokenizer = load_tokenizer(goldens / "models" / "tokenizer")
    save_checkpoint(published.model, tmp_path / "model", tokenizer=tokenizer, notes=published.notes)
    loaded = load_clamp(tmp_path / "model")
    assert (loaded.config.text.max_tokens, loaded.config.audio.max_frames) == (16, 16)
    arrays = dict(np.load(real / "expected.npz"))
    inputs = read(real)["inputs"]
    ids = torch.tensor(encode_texts(loaded.tokenizer, [inputs["t1.txt"]])[0])
    rows = {"t1": ("text", ids, 16), "20": ("audio", frames(arrays), 16)}
    for name in ("00.abc", "05.mtf", "07.abc"):
        patches = torch.from_numpy(encode_patches(inputs[name], patch_size=16))
        rows[name[:2]] = ("symbolic", patches, 8)
    with torch.no_grad():
        for stem, (tower, piece, window) in rows.items():
            found = whole_piece(loaded.model, tower, piece, window)
            check(arrays, ("clamp3_temporal", stem), *found)


def frames(arrays):
    return add_silence(torch.from_numpy(arrays["input/20.npy"]))


def read(real):
    return json.loads((real / "ckpt.json").read_text())


def test_a_real_m3_file_gives_the_recorded_features(real, tmp_path):
    published = read_published(next(real.glob("weights_m3_*.pth")))
    save_checkpoint(published.model, tmp_path / "m3", notes=published.notes)
    encoder = load_m3(tmp_path / "m3").encoder
    arrays = dict(np.load(real / "expected.npz"))
    with torch.no_grad():
        for name, text in read(real)["inputs"].items():
            if name.endswith(".txt"):
                continue
            patches = torch.from_numpy(encode_patches(text, patch_size=16))
            check(arrays, ("m3", name[:2]), whole_m3_piece(encoder, patches, 8))


def test_notes_say_where_the_weights_come_from(real):
    source = next(real.glob("weights_clamp3_*.pth"))
    notes = read_published(source, text_heads=4).notes
    assert notes["source"] == source.name
    assert len(notes["source_sha256"]) == 64
    assert (notes["epoch"], notes["best_epoch"], notes["modality"]) == (2, 2, "symbolic")
    assert notes["min_eval_loss"] == pytest.approx(1.387, abs=1e-3)


@pytest.mark.parametrize("kind", ["clamp3", "clamp2"])
def test_all_sizes_follow_from_the_tensors(tmp_path, kind):
    model = clamp_model("K", kind)
    published = read_published(write_published(tmp_path, model), text_heads=4).model
    assert not published.training
    found, expected = published.config, model.config
    assert found.model_copy(update={"symbolic": None}) == expected.model_copy(
        update={"symbolic": None}
    )
    assert found.symbolic.model_dump() | {"decoder_layers": 1} == expected.symbolic.model_dump()
    assert_same_weights(published, model)


def test_a_renamed_file_has_the_published_window(tmp_path):
    path = write_published(tmp_path, clamp_model("K"), "mine.pth")
    assert read_published(path).model.config.text.max_tokens == 128
    assert read_published(path).model.config.text.num_attention_heads == 1
    assert read_published(path, max_tokens=9).model.config.text.max_tokens == 9


def test_wrappers_constants_and_half_precision_are_undone(tmp_path):
    model = m3_model("K")
    state = {f"module.{n}": t.half() for n, t in model.state_dict().items()}
    state["module.encoder.base.embeddings.position_ids"] = torch.arange(8)
    state["module.decoder.base.transformer.h.0.attn.bias"] = torch.ones(1, 1, 16, 16)
    torch.save(state, tmp_path / "bare.pth")  # weights alone, without a dictionary around them
    published = read_published(tmp_path / "bare.pth").model
    assert isinstance(published, M3Model)
    assert published.architecture == model.architecture
    assert_same_weights(published, model.half().float())


@pytest.mark.parametrize(
    "number", [np.float64(1.5), np.float32(1.5), np.int64(3), torch.tensor(1.5)]
)
def test_numbers_of_numpy_and_torch_are_admitted(tmp_path, number):
    path = write_published(tmp_path, clamp_model("K"), min_eval_loss=number)
    noted = read_published(path).notes["min_eval_loss"]
    assert noted == number
    assert type(noted) in (float, int)


def test_odd_notes_are_told_in_words(tmp_path):
    path = write_published(tmp_path, clamp_model("K"), modality=b"x", epoch={"a": torch.ones(2)})
    assert read_published(path).notes["modality"] == "b'x'"
    json.dumps(read_published(path).notes)


class Program:
    """What a harmful file would hold."""

    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_programs_in_a_file_are_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_published(tmp_path, clamp_model("K"), epoch=Program())
    with pytest.raises(CheckpointError, match="something other than numbers") as raised:
        read_published(path)
    assert "weights_only" not in str(raised.value)  # no advice to execute it after all
    assert not (tmp_path / "harmed").exists()


def test_damaged_files_are_named(tmp_path):
    path = write_published(tmp_path, clamp_model("K"))
    whole = path.read_bytes()
    for damaged, fault in (
        (b"", "it is empty"),
        (whole[: len(whole) // 2], "was the download cut off"),
        (b"plain text", "was the download cut off"),
        (pickle.dumps([1]), "was the download cut off"),
        (LFS_POINTER, "a Git LFS pointer in its place"),
        (b"\n<!DOCTYPE html>", "a web page in its place"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=f"{PUBLISHED_NAME}: .*{fault}") as raised:
            read_published(path)
        assert "weights_only" not in str(raised.value)
    with pytest.raises(CheckpointError, match="no such file"):
        read_published(tmp_path / "nothing.pth")
    with pytest.raises(CheckpointError, match=r"a folder, expected the \.pth file itself"):
        read_published(tmp_path)


def changed(model, **tensors):
    state = dict(model.state_dict()) | tensors
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected a dictionary"),
        ({"model": {"a": 1}}, "no dictionary of tensors"),
        ({"model": {"a": torch.ones(1)}}, "no tensor '.*'; expected the weights of M3, CLaMP 2"),
        ({}, "no tensor"),
    ],
)
def test_other_contents_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        read_published(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"audio_proj.bias": None}, r"lacks the tensor audio_proj\.bias"),
        ({"audio_proj.more": torch.ones(1)}, r"holds the unknown tensor audio_proj\.more"),
        ({"audio_proj.weight": torch.ones(64, 32)}, "it looks transposed"),
        ({"audio_proj.bias": torch.full([32], float("nan"))}, "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, tensors, message):
    torch.save({"model": changed(clamp_model("K"), **tensors)}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=message):
        read_published(tmp_path / "bad.pth")


def faults(name, tensor):
    """What can have happened to a tensor, and what must be said of it."""
    damaged = tensor.contiguous().clone()
    damaged.view(-1)[-1] = float("nan")
    found = [(None, name), (damaged, f"{name} holds values that are not finite")]
    found += [(torch.ones(s), f"{name} has the shape") for s in ([1, *tensor.shape], [0], [])]
    if tensor.ndim == 2 and tensor.shape[0] != tensor.shape[1]:
        found.append((tensor.t(), f"{name} has the shape .*it looks transposed"))
    return found


@pytest.mark.parametrize("kind", ["m3", "clamp3", "clamp2"])
def test_a_fault_in_any_tensor_is_one_sentence(tmp_path, kind):
    model = m3_model("K") if kind == "m3" else clamp_model("K", kind)
    path = tmp_path / "weights_t_length_16_x.pth"
    for turn, (name, tensor) in enumerate(model.state_dict().items()):
        if kind == "clamp3" and name.startswith("text"):  # as in clamp2
            continue
        possible = faults(name, tensor)
        if "embedding" not in name:  # the sizes are read from some of those: all their faults
            possible = [possible[turn % len(possible)]]
        for damaged, message in possible:
            torch.save({"model": changed(model, **{name: damaged})}, path)
            with pytest.raises(CheckpointError, match=message) as raised:
                read_published(path, text_heads=4)
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("extra", "options", "message"),
    [
        ({}, {"text_heads": 5}, "5 attention heads cannot share it evenly"),
        ({}, {"max_tokens": 513}, "has positions for 512 tokens"),
        ({"architecture": "{"}, {}, "`architecture` is not readable as JSON"),
        ({"architecture": "[]"}, {}, "architecture: value: Input should be"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, extra, options, message):
    torch.save({"model": clamp_model("K").state_dict(), **extra}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=message):
        read_published(tmp_path / "x.pth", **options)


def test_other_containers_of_tensors_are_read(tmp_path):
    model = clamp_model("K")
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    torch.save(state, tmp_path / "x_t_length_16_.pth")
    old = tmp_path / "x_t_length_16_.old"  # as torch wrote it before 1.6
    torch.save({"model": state}, old, _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "x_t_length_16_.safetensors")
    for suffix in ("pth", "old", "safetensors"):
        found = read_published(tmp_path / f"x_t_length_16_.{suffix}", text_heads=4).model
        assert found.config.text.max_tokens == 16
        assert_same_weights(found, model)


def test_an_output_layer_of_its_own_is_refused(tmp_path):
    name = "decoder.base.lm_head.weight"
    width = SIZES["K"][0][2]
    torch.save(changed(m3_model("K"), **{name: values("x", (128, width))}), tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="differ, expected one tensor"):
        read_published(tmp_path / "bad.pth")
