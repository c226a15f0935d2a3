"""CLaMP 3 and CLaMP 2: recorded features, long inputs, and how models are built."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from damage import LFS_POINTER
from formula import (
    SMALL,
    architecture,
    assert_same_weights,
    clamp_config,
    clamp_model,
    gradients_close,
    losses_of_training,
    m3_model,
    published_config,
    read_json,
    whole_m3_piece,
    whole_piece,
)
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from clamp3.config import ClampConfig, TextArchitecture
from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.formats.patches import encode_patches
from clamp3.models.clamp import ClampModel, ClampModelConfig, build_clamp
from clamp3.models.encoders import empty_weights
from clamp3.models.m3 import PAD
from clamp3.models.pooling import add_silence
from clamp3.models.text import PAD_ID, TextTowerConfig
from clamp3.models.tokenizer import train_tokenizer
from clamp3.training.batches import Padded
from clamp3.training.contrast import Contrast, ContrastiveTask, PairBatch
from clamp3.training.two_pass import backward_in_chunks

pytestmark = pytest.mark.usefixtures("one_thread")
PAIRS = [("clamp3", "symbolic"), ("clamp3", "audio"), ("clamp2", "symbolic")]


def padded(rows, lengths, fill):
    """Ragged rows that are stored one behind the other, as a batch and its mask."""
    parts = torch.split(torch.from_numpy(rows), list(lengths))
    batch = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=fill)
    return batch, (torch.arange(batch.shape[1]) < torch.tensor(lengths)[:, None]).long()


def both_features(model, arrays, tower):
    text = model.encode_text(
        torch.from_numpy(arrays["text_inputs"]), torch.from_numpy(arrays["text_masks"])
    )
    music, mask = padded(arrays[f"{tower}_inputs"], arrays[f"{tower}_lens"], PAD)
    return text, getattr(model, f"encode_{tower}")(music, mask)


def contrastive_loss(text, music):
    scores = text @ music.T
    target = torch.arange(len(scores))
    forth, back = (functional.cross_entropy(s, target) for s in (scores, scores.T))
    return (forth + back) / 2


@pytest.mark.parametrize(("kind", "tower"), PAIRS)
def test_features_loss_and_gradients_are_the_recorded_ones(recorded, kind, tower):
    arrays = recorded.arrays(f"{kind}_forward_{{}}.npz")
    model = clamp_model(recorded.letter, kind)
    text, music = both_features(model, arrays, tower)
    for found, name in ((text, "text_features"), (music, f"{tower}_features")):
        np.testing.assert_allclose(found.detach().numpy(), arrays[name], atol=1e-5, rtol=0)
    loss = contrastive_loss(text, music)
    loss.backward()
    check_gradients(model, loss, recorded, kind, tower)


def check_gradients(model, loss, recorded, kind, tower):
    arrays = recorded.arrays(f"{kind}_forward_{{}}.npz")
    assert loss.item() == pytest.approx(float(arrays[f"{tower}_loss"]), abs=1e-5)
    named = dict(model.named_parameters())
    start = f"{tower}_grad/"
    for name in filter(lambda n: n.startswith(start), arrays):
        gradients_close(named[name.removeprefix(start)].grad.numpy(), arrays[name])
    norms = recorded.json(f"{kind}_forward_{{}}.json")["grad_norms"][tower]
    for name, norm in norms.items():
        gradients_close(named[name].grad.norm().numpy(), np.array(norm))


@pytest.mark.parametrize(("kind", "tower"), PAIRS)
def test_gradients_computed_in_chunks_are_the_recorded_ones(recorded, kind, tower):
    arrays = recorded.arrays(f"{kind}_forward_{{}}.npz")
    model = clamp_model(recorded.letter, kind)
    music, mask = padded(arrays[f"{tower}_inputs"], arrays[f"{tower}_lens"], PAD)
    texts = (torch.from_numpy(arrays[name]) for name in ("text_inputs", "text_masks"))
    rows = torch.arange(len(music))
    batch = PairBatch([], [Padded(rows, *texts)], [Padded(rows, music, mask)], keys=rows)
    task = ContrastiveTask("test", model, None, Contrast(tower, 5, "none", 0.0, "dot", 1.0), 0, "")
    loss = backward_in_chunks(task, task.loss, batch, 2, Accelerator())
    AcceleratorState._reset_state()
    check_gradients(model, loss, recorded, kind, tower)


@pytest.mark.parametrize("tower", ["symbolic", "audio"])
def test_five_steps_of_training_go_the_recorded_way(tower):
    arrays = dict(np.load(SMALL / "clamp3_forward_B.npz"))
    recorded = read_json(SMALL / "clamp3_forward_B.json")["grad_norms"]
    expected = recorded[f"{tower}_adamw_lr1e-3_losses_all_params_trainable"]
    model = clamp_model("B")
    losses = losses_of_training(
        model, lambda: contrastive_loss(*both_features(model, arrays, tower)), len(expected)
    )
    assert losses == pytest.approx(expected, abs=2e-4)


def patches_of(name, text, kind):
    """The patches of a recorded input, as the originals' extraction made them."""
    text = text.replace("\r\n", "\n")
    patches = encode_patches(text)
    before, unit, _ = text.partition("L:1/8\n")
    if kind == "clamp2" and unit:  # CLaMP 2's extraction kept the line that its training dropped
        line = np.frombuffer(f"\x01{unit}\x02".ljust(64, "\0").encode(), np.uint8)
        patches = np.insert(patches, 1 + before.count("\n"), line, axis=0)
    return torch.from_numpy(patches)


def inputs_of(recorded, kind):
    """(stem, tower, rows of a whole piece) of the inputs that the originals could read."""
    content = recorded.json("extract_{}_inputs.json")
    for name, ids in content["token_ids_all"].items():
        yield name.rsplit(".", 1)[0], "text", torch.tensor(ids)
    for name, text in content["inputs"].items():
        if name.startswith("s_"):
            try:
                patches = patches_of(name, text, kind)
            except FormatError:
                continue
            yield name.rsplit(".", 1)[0], "symbolic", patches
    if kind == "clamp3":
        for stem, features in recorded.arrays("extract_{}_audio_inputs.npz").items():
            yield stem, "audio", add_silence(torch.from_numpy(features).float())


def window(config, tower):
    return {
        "text": config.text.max_tokens,
        "symbolic": config.symbolic.patch_length,
        "audio": config.audio and config.audio.max_frames,
    }[tower]


def check_hidden(arrays, name, hidden):
    hidden = hidden.numpy()
    if name in arrays:
        np.testing.assert_allclose(hidden[None], arrays[name], atol=2e-5, rtol=0)
    if f"{name}@shape" in arrays:
        assert list(arrays[f"{name}@shape"])[-2:] == list(hidden.shape)
        ends = np.concatenate([hidden[:3], hidden[-3:]])
        np.testing.assert_allclose(
            ends, arrays[f"{name}@head_tail"].reshape(ends.shape), atol=2e-5, rtol=0
        )
        mean = arrays[f"{name}@mean"].reshape(-1)
        np.testing.assert_allclose(hidden.mean(0), mean, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["clamp3", "clamp2"])
def test_long_and_short_pieces_have_the_recorded_embeddings(recorded, kind):
    arrays = recorded.arrays("extract_{}.npz")
    globals_of = {"clamp3": "clamp3_global", "clamp2": "clamp2_normalized"}[kind]
    model = clamp_model(recorded.letter, kind)
    seen = set()
    with torch.no_grad():
        for stem, tower, rows in inputs_of(recorded, kind):
            hidden, vector = whole_piece(model, tower, rows, window(model.config, tower))
            check_hidden(arrays, f"{kind}_temporal/{stem}", hidden)
            if f"{globals_of}/{stem}" in arrays:
                seen.add(stem)
                expected = arrays[f"{globals_of}/{stem}"][0]
                np.testing.assert_allclose(
                    vector.numpy(), expected, atol=1e-5, rtol=0, err_msg=stem
                )
    recorded_stems = {name.split("/")[1] for name in arrays if name.startswith(globals_of)}
    assert seen == recorded_stems


def test_m3_features_of_whole_pieces_are_the_recorded_ones(recorded):
    arrays = recorded.arrays("extract_{}.npz")
    encoder = m3_model(recorded.letter).encoder
    length = encoder.architecture.patch_length
    names = [name for name in arrays if name.startswith("m3/")]
    assert names
    with torch.no_grad():
        for stem, tower, rows in inputs_of(recorded, "clamp2"):
            if tower != "symbolic" or not any(name.startswith(f"m3/{stem}") for name in names):
                continue
            rows = patches_of(stem, recorded_text(recorded, stem), "clamp3")
            check_hidden(arrays, f"m3/{stem}", whole_m3_piece(encoder, rows, length))


def recorded_text(recorded, stem):
    inputs = recorded.json("extract_{}_inputs.json")["inputs"]
    return next(text for name, text in inputs.items() if name.rsplit(".", 1)[0] == stem)


@pytest.mark.parametrize(("kind", "name"), [("clamp3", "CLaMP3Model"), ("clamp2", "CLaMP2Model")])
def test_keys_and_shapes_are_those_of_the_published_models(kind, name):
    recorded = read_json(SMALL / f"state_dict_{name}_full.json")
    towers = ("text", "symbolic", "audio") if kind == "clamp3" else ("text", "symbolic")
    with empty_weights():
        model = ClampModel(published_config(kind, towers))
    assert {n: list(t.shape) for n, t in model.state_dict().items()} == recorded["tensors"]
    assert sum(p.numel() for p in model.parameters()) == recorded["n_parameters_unique"]


def text_batch(config):
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(4, 598, (3, config.text.max_tokens), generator=generator)
    mask = (torch.arange(ids.shape[1]) < torch.tensor([16, 9, 2])[:, None]).long()
    return ids.masked_fill(mask == 0, PAD_ID), mask


def test_padding_and_company_change_nothing():
    model = clamp_model("K")
    ids, mask = text_batch(model.config)
    patches = torch.randint(1, 127, (3, 8, 16))
    frames = torch.randn(3, 16, 64)
    real = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] + [0] * 7])
    with torch.no_grad():
        for encode, rows, shown in (
            (model.encode_text, ids, mask),
            (model.encode_symbolic, patches, real),
            (model.encode_audio, frames, torch.cat([real, torch.zeros(3, 8)], dim=1)),
        ):
            together = encode(rows, shown)
            for place in range(3):
                own = slice(0, int(shown[place].sum()))
                alone = encode(rows[place : place + 1, own], shown[place : place + 1, own])
                torch.testing.assert_close(together[place : place + 1], alone, atol=2e-6, rtol=0)


def test_a_model_can_be_built_with_some_of_its_towers():
    model = ClampModel(clamp_config("K"), ["audio", "text"])
    assert model.towers == ("text", "audio")
    assert {name.split("_")[0] for name in model.state_dict()} == {"text", "audio"}
    with pytest.raises(ValueError, match="no symbolic tower here: this model has text, audio"):
        model.encode_symbolic(torch.ones(1, 2, 16, dtype=torch.uint8), torch.ones(1, 2))
    with pytest.raises(ValueError, match="image"):
        ClampModel(clamp_config("K"), ["image"])


def test_clamp2_calls_its_symbolic_tower_music():
    model = ClampModel(clamp_config("K", "clamp2"))
    assert model.towers == ("text", "symbolic")
    assert model.encoder("symbolic") is model.music_model
    assert model.projection("symbolic") is model.music_proj


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "clamp2"}, "clamp2 has no audio tower"),
        ({"text": None, "symbolic": None, "audio": None}, "at least one of text, symbolic, audio"),
        ({"width": 0}, "greater than 0"),
        ({"colour": 1}, "Extra inputs"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        ClampModelConfig.model_validate(clamp_config("K").model_dump() | change)


def test_text_sizes_that_do_not_fit_each_other_are_refused():
    sizes = clamp_config("K").text.model_dump()
    with pytest.raises(ConfigError, match="max_tokens 513: the text model has positions for 512"):
        TextTowerConfig(**sizes | {"max_tokens": 513}).transformer()
    with pytest.raises(ConfigError, match="hidden_size 64: 5 attention heads"):
        TextTowerConfig(**sizes | {"num_attention_heads": 5}).transformer()


def settings(**text):
    """The clamp3 section of a small params.yaml."""
    sizes = {
        "pretrained": None,
        "vocabulary_size": 60,
        "hidden_size": 32,
        "layers": 1,
        "heads": 2,
        "max_tokens": 16,
    }
    return ClampConfig.model_construct(
        width=24,
        text=TextArchitecture(**sizes | text),
        similarity="cosine",
    )


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a calm waltz in C major", "a sad tune for two flutes"], 60)


def new_model(tokenizer, m3=None, **text):
    sizes = None if m3 else architecture("K")
    return build_clamp(settings(**text), tokenizer, m3, architecture=sizes)


def test_a_new_model_has_the_tokens_of_its_tokenizer_and_no_audio_tower(tokenizer):
    model = new_model(tokenizer).eval()
    assert model.config.text.vocab_size == len(tokenizer)
    assert model.config.similarity == "cosine"
    ids = torch.tensor(tokenizer(["a sad waltz"])["input_ids"])
    assert model.encode_text(ids, torch.ones_like(ids)).shape == (1, 24)
    assert model.towers == ("text", "symbolic")
    assert model.config.audio is None


def model_of_frames(width):
    config = clamp_config("K")
    audio = config.audio.model_copy(update={"feature_size": width})
    return ClampModel(config.model_copy(update={"audio": audio}))


def test_a_layer_before_the_audio_tower_takes_narrow_frames():
    assert model_of_frames(20).encode_audio(torch.randn(2, 8, 20), torch.ones(2, 8)).shape == (
        2,
        32,
    )
    names = model_of_frames(64).state_dict()
    assert not any("audio_embedding" in name for name in names)
    assert any(name.startswith("audio_model") for name in names)


def test_a_new_model_starts_from_m3_with_a_copy_of_its_weights(tokenizer):
    m3 = m3_model("K")
    model = new_model(tokenizer, m3)
    assert_same_weights(model.symbolic_model, m3.encoder)
    with torch.no_grad():
        model.symbolic_model.patch_embedding.weight.zero_()
    assert m3.encoder.patch_embedding.weight.any()


def test_the_seed_alone_decides_the_weights(tokenizer):
    for make in (lambda: new_model(tokenizer), lambda: model_of_frames(20)):
        models = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            models.append(make())
        assert_same_weights(*models[:2])
        states = [model.state_dict() for model in models[1:]]
        for name in states[0].keys() & {"text_proj.weight", "audio_embedding.weight"}:
            assert not torch.equal(states[0][name], states[1][name])
        assert not torch.equal(*(state["symbolic_proj.weight"] for state in states))


def test_a_symbolic_tower_without_sizes_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="symbolic tower has no sizes"):
        build_clamp(settings(), tokenizer)


@pytest.fixture
def pretrained(tmp_path):
    """A folder with a small XLM-R as the hub holds it: for masked words, without a pooler."""
    torch.manual_seed(8)
    config = XLMRobertaConfig(
        vocab_size=70,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    model = XLMRobertaForMaskedLM(config)
    model.save_pretrained(tmp_path)
    return tmp_path, model


def test_the_text_tower_can_come_from_a_checkpoint(tokenizer, pretrained):
    folder, source = pretrained
    model = new_model(tokenizer, pretrained=str(folder))
    sizes = model.config.text
    assert (sizes.vocab_size, sizes.num_attention_heads, sizes.intermediate_size) == (70, 4, 48)
    for name, tensor in source.roberta.state_dict().items():
        assert torch.equal(model.text_model.state_dict()[name], tensor)


def test_a_checkpoint_without_all_its_weights_is_refused(tokenizer, pretrained):
    folder = pretrained[0]
    tensors = load_file(folder / "model.safetensors")
    kept = {name: t.clone() for name, t in tensors.items() if "layer.0.output" not in name}
    (folder / "model.safetensors").unlink()
    for content, message in ((kept, "lacks the tensor encoder.layer.0.output"), (None, "be read")):
        if content is None:
            (folder / "model.safetensors").write_bytes(b"broken")
        else:
            save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=message):
            new_model(tokenizer, pretrained=str(folder))
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(LFS_POINTER)
    with pytest.raises(CheckpointError, match=r"cannot be read \(UnpicklingError"):
        new_model(tokenizer, pretrained=str(folder))


def test_a_tokenizer_with_more_tokens_than_the_checkpoint_is_refused(pretrained):
    texts = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789áéíóúàèìòù"]
    many = train_tokenizer(texts, 90)
    with pytest.raises(ConfigError, match=r"knows 70 tokens, the tokenizer \d+"):
        new_model(many, pretrained=str(pretrained[0]))


def test_a_checkpoint_that_is_no_xlm_r_is_refused(tokenizer, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    for folder, message in ((tmp_path, "model_type is bert"), (tmp_path / "no", "no text model")):
        with pytest.raises(CheckpointError, match=message):
            new_model(tokenizer, pretrained=str(folder))
