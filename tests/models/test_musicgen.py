"""CLAP-MusicGen's towers: codes, states, padding, and the original's own checkpoints."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from damage import LFS_POINTER, change_json, change_tensors, drop, poison, replace
from models.tiny_clap import (
    CAPTIONS,
    CODEC,
    DECODER,
    Original,
    sounds,
    tiny_config,
    tiny_musicgen,
    tiny_roberta,
    tokenizer,
)
from safetensors.torch import load_file, save_file
from transformers import (
    MusicgenConfig,
    MusicgenForCausalLM,
    MusicgenForConditionalGeneration,
    RobertaForMaskedLM,
    T5Config,
)

from clamp3.config import MusicgenArchitecture
from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.models.clap_musicgen import (
    PUBLISHED_READING,
    ClapModel,
    ClapModelConfig,
    Codec,
    CodecConfig,
    DecoderConfig,
    DecoderTower,
)
from clamp3.models.clap_musicgen.checkpoints import (
    PUBLISHED_TOKENIZER,
    load_clap,
    save_clap,
)
from clamp3.models.clap_musicgen.model import caption_tokens
from clamp3.models.clap_musicgen.pretrained import (
    load_codec,
    load_decoder,
    load_text,
    load_text_tokenizer,
    make_musicgen,
)
from clamp3.models.encoders import empty_weights
from clamp3.models.kinds import is_clap
from clamp3.models.text import TextTowerConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_musicgen(tmp_path_factory.mktemp("models") / "musicgen")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    return tiny_roberta(tmp_path_factory.mktemp("models") / "roberta")


@pytest.fixture(scope="module")
def original():
    return Original()


@pytest.fixture(scope="module")
def published(tmp_path_factory, original):
    return original.save(tmp_path_factory.mktemp("models") / "published")


def reading(**changes):
    return PUBLISHED_READING.model_copy(update=changes)


def some_codes(rows=3, frames=11, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 64, (rows, 4, frames)))


def whole(frames, longest):
    return (torch.arange(longest) < torch.tensor(frames)[:, None]).long()


def test_codes_are_four_a_frame_fifty_frames_a_second(folder):
    codec = load_codec(folder)
    (codes,) = codec.codes_of(sounds(1))
    assert codes.dtype == np.int16
    assert codes.shape == (4, 50)
    assert codes.min() >= 0
    assert codes.max() < 64
    assert all(len(np.unique(row)) > 3 for row in codes)
    assert codec.config.frame_samples == 640
    (longer,) = codec.codes_of([sounds(1)[0][:641]])
    assert longer.shape == (4, 2) == (4, codec.config.frames(641))


def test_codes_are_those_of_transformers(original):
    codec = Codec(CODEC)
    codec.encoder.load_state_dict(original.codec.encoder.state_dict())
    for own, layer in zip(codec.quantizer.layers, original.codec.quantizer.layers, strict=True):
        own.codebook.embed = layer.codebook.embed
    waveform = sounds(1, 0.7)[0]
    (codes,) = codec.codes_of([waveform])
    expected = original.codec.encode(torch.from_numpy(waveform)[None, None]).audio_codes[0, 0]
    assert np.array_equal(codes, expected.numpy())


def test_codes_do_not_depend_on_the_batch(folder, monkeypatch):
    codec = load_codec(folder)
    waves = [*sounds(3), *sounds(2, 0.51, seed=1), sounds(1, 0.02, seed=2)[0]]
    together = codec.codes_of(waves)
    for wave, codes in zip(waves, together, strict=True):
        assert np.array_equal(codec.codes_of([wave])[0], codes)
    monkeypatch.setattr("clamp3.models.clap_musicgen.codec.BATCH_SECONDS", 2)
    for once, again in zip(together, codec.codes_of(waves), strict=True):
        assert np.array_equal(once, again)
    assert codec.codes_of([]) == []


@pytest.mark.parametrize(
    ("waveform", "kind"),
    [
        (np.empty(0, np.float32), "no_samples"),
        (np.full(32_000, np.nan, np.float32), "not_finite"),
        (np.full(32_000, np.inf, np.float32), "not_finite"),
        (np.zeros(32, np.float32), "too_short"),
        (np.zeros((2, 32_000), np.float32), "bad_waveform"),
        (np.zeros(32_000, np.int16), "bad_waveform"),
    ],
)
def test_a_bad_waveform_is_one_clear_error(folder, waveform, kind):
    with pytest.raises(FormatError) as caught:
        load_codec(folder).codes_of([sounds(1)[0], waveform])
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positions": "counted"},
        {"codebooks": "delayed"},
        {"pooling": "mean"},
        {"layer": 2},
        {"positions": "counted", "codebooks": "delayed", "pooling": "mean", "layer": 1},
    ],
)
def test_padding_and_neighbours_change_nothing(folder, changes):
    tower = load_decoder(folder, reading(**changes))
    frames = [11, 1, 7]
    codes = some_codes()
    together = tower(codes, whole(frames, 11))
    assert together.shape == (3, 64)
    for row, count in enumerate(frames):
        alone = tower(codes[row : row + 1, :, :count], whole([count], count))
        assert torch.allclose(alone[0], together[row], atol=2e-6)
    other = codes.clone()
    other[1, :, 1:] = 5
    assert torch.equal(tower(other, whole(frames, 11)), together)


def test_the_published_reading_is_vectors_into_the_decoder(original, folder):
    tower = DecoderTower(DECODER, PUBLISHED_READING).eval()
    tower.decoder.load_state_dict(original.decoder.state_dict(), strict=False)
    codes = some_codes()
    vectors = sum(original.decoder.embed_tokens[k](codes[:, k]) for k in range(4))
    with torch.no_grad():
        expected = original.decoder(inputs_embeds=vectors).last_hidden_state[:, -1]
        assert torch.allclose(tower(codes, whole([11] * 3, 11)), expected, atol=1e-6)


def test_each_choice_of_reading_is_what_it_says(original):
    def tower(**changes):
        made = DecoderTower(DECODER, reading(**changes)).eval()
        made.decoder.load_state_dict(original.decoder.state_dict(), strict=False)
        return made(some_codes(), whole([11] * 3, 11))

    codes = some_codes()
    with torch.no_grad():
        plain = original.decoder(input_ids=codes.reshape(12, 11), output_hidden_states=True)
        assert torch.allclose(tower(positions="counted"), plain.last_hidden_state[:, -1], atol=1e-6)
        mean = plain.last_hidden_state.mean(dim=1)
        assert torch.allclose(tower(positions="counted", pooling="mean"), mean, atol=1e-6)
        second = plain.hidden_states[2][:, -1]
        assert torch.allclose(tower(positions="counted", layer=2), second, atol=1e-6)
        late = torch.full((3, 4, 15), 64)
        for book in range(4):
            late[:, book, book + 1 : book + 12] = codes[:, book]
        delayed = original.decoder(input_ids=late.reshape(12, 15)).last_hidden_state[:, -1]
        assert torch.allclose(tower(positions="counted", codebooks="delayed"), delayed, atol=1e-6)


def test_parts_of_musicgen_load_from_every_layout(folder, tmp_path, original):
    """A whole MusicGen, its language model and the bare EnCodec, as transformers saves them."""
    text = T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    config = MusicgenConfig(
        text_encoder=text.to_dict(),
        audio_encoder=CODEC.transformer().to_dict(),
        decoder=original.decoder.config.to_dict(),
    )
    torch.manual_seed(0)
    model = MusicgenForConditionalGeneration(config).eval()
    for layer, own in zip(
        model.audio_encoder.quantizer.layers, original.codec.quantizer.layers, strict=True
    ):
        layer.codebook.embed = own.codebook.embed
    _save(model, tmp_path / "whole")
    _save(model.audio_encoder, tmp_path / "codec")
    language = MusicgenForCausalLM(config.decoder).eval()
    language.load_state_dict(model.decoder.state_dict())
    _save(language, tmp_path / "language")
    codes, wave = some_codes(), torch.from_numpy(np.stack(sounds(2)))
    with torch.no_grad():
        states = model.decoder.model.decoder(input_ids=codes.reshape(12, 11)).last_hidden_state
        expected = model.audio_encoder.encode(wave[:, None]).audio_codes[0]
    for name in ("whole", "language"):
        tower = load_decoder(tmp_path / name, reading(positions="counted"))
        assert torch.allclose(tower(codes, whole([11] * 3, 11)), states[:, -1], atol=1e-6)
        assert not any(parameter.requires_grad for parameter in tower.parameters())
    for name in ("whole", "codec"):
        assert torch.equal(load_codec(tmp_path / name)(wave), expected)


def _save(model, folder, old_names=False):
    folder.mkdir()
    state = {n: t.contiguous().clone() for n, t in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()))


def test_old_names_pickles_shards_and_halves_are_read(folder, tmp_path):
    """Weight norm as older files name it; .bin; two shards with an index; float16."""
    state = load_file(folder / "model.safetensors")
    new = "parametrizations.weight.original"
    old = {
        n.replace(f"{new}0", "weight_g").replace(f"{new}1", "weight_v"): t for n, t in state.items()
    }
    assert old.keys() != state.keys()
    wave = torch.from_numpy(np.stack(sounds(2)))
    expected = load_codec(folder)(wave)
    pickled = _with_config(folder, tmp_path / "pickled")
    torch.save(old, pickled / "pytorch_model.bin")
    shards = _with_config(folder, tmp_path / "shards")
    names = sorted(old)
    weight_map = {n: f"model-{place % 2}.safetensors" for place, n in enumerate(names)}
    for file in set(weight_map.values()):
        save_file({n: old[n] for n in names if weight_map[n] == file}, shards / file)
    index = {"weight_map": weight_map}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    for copy in (pickled, shards):
        assert torch.equal(load_codec(copy)(wave), expected)
    half = _with_config(folder, tmp_path / "half")
    save_file({n: t.half() for n, t in state.items()}, half / "model.safetensors")
    assert next(load_decoder(half, PUBLISHED_READING).parameters()).dtype == torch.float32


def _with_config(folder, copy):
    copy.mkdir()
    shutil.copyfile(folder / "config.json", copy / "config.json")
    return copy


def edited(folder, tmp_path, change):
    copy = shutil.copytree(folder, tmp_path / "edited")
    change(copy)
    return copy


def setting(part, **values):
    def change(settings):
        (settings[part] if part else settings).update(values)

    return lambda folder: change_json(folder / "config.json", change)


def tensors_of(file, change):
    return lambda folder: change_tensors(folder / file, change)


def without(name):
    return tensors_of("model.safetensors", drop(name))


LAYER = "decoder.model.decoder.layers.1.fc1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting(None, model_type="t5"), "model_type is t5, expected"),
        (setting("decoder", audio_channels=2), "audio_channels.*another build"),
        (setting("decoder", hidden_size=32), "has the shape"),
        (without(LAYER), "lacks the tensor layers.1.fc1.weight"),
        (tensors_of("model.safetensors", replace(LAYER, poison(math.nan))), "not finite"),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "not a readable safetensors"),
        (lambda f: (f / "model.safetensors").unlink(), "holds neither"),
        (lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "config.json").unlink(), "no such file"),
    ],
)
def test_a_damaged_musicgen_is_told(folder, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        load_decoder(edited(folder, tmp_path, change), PUBLISHED_READING)


def test_parts_that_do_not_fit_are_told():
    values = tiny_config().model_dump()
    values["audio"]["vocab_size"] = 128
    with pytest.raises(ValueError, match="expected those of one MusicGen"):
        ClapModelConfig(**values)
    with pytest.raises(ValueError, match="expected both or neither"):
        ClapModelConfig(**tiny_config().model_dump() | {"codec": None})


def test_a_text_model_is_roberta(roberta):
    sizes, encoder = load_text(roberta, 40)
    model = RobertaForMaskedLM.from_pretrained(roberta).eval()
    words = load_text_tokenizer(roberta)
    found = words(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.roberta(**found).last_hidden_state
        assert torch.allclose(encoder(**found).last_hidden_state, expected, atol=1e-6)
    assert sizes.max_tokens == 40
    with pytest.raises(ConfigError, match="positions for 40 tokens"):
        load_text(roberta, 41)


def test_a_tokenizer_in_two_files_is_read(tmp_path):
    """vocab.json and merges.txt, as older folders of RoBERTa have them."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "r", "a", "p", "Ġ", "ra", "rap", "Ġr", "<mask>"]
    (tmp_path / "vocab.json").write_text(json.dumps({w: n for n, w in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nr a\nra p\nĠ r\n")
    found = load_text_tokenizer(tmp_path)
    assert found("rap")["input_ids"] == [0, 9, 2]
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(CheckpointError, match="its tokenizer cannot be read"):
        load_text_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_text_tokenizer(tmp_path / "nowhere")


def test_hub_names_fetch_only_what_is_needed(published, folder, tmp_path, monkeypatch):
    asked = []
    words = tmp_path / "words"
    words.mkdir()
    shutil.copyfile(published / "tokenizer.json", words / "tokenizer.json")
    bare = shutil.copytree(published, tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    places = {"owner/musicgen": folder, "owner/clap": bare, PUBLISHED_TOKENIZER: words}

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(places[name])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    load_codec("owner/musicgen")
    assert all("*.bin" not in pattern for _, patterns in asked for pattern in patterns)
    assert is_clap("owner/clap")
    assert asked[-1] == ("owner/clap", ["config.json"])
    assert load_clap("owner/clap").tokenizer.get_vocab() == tokenizer().get_vocab()
    assert asked[-1][0] == PUBLISHED_TOKENIZER
    assert all("safetensors" not in pattern for pattern in asked[-1][1])
    assert load_clap("owner/clap", towers=("audio",)).tokenizer is None


def test_the_originals_checkpoint_gives_the_originals_vectors(published, original):
    loaded = load_clap(published)
    waves = sounds(3)
    with torch.no_grad():
        audio = loaded.model.encode_audio(torch.from_numpy(np.stack(waves)))
        expected = torch.cat([original.audio(wave) for wave in waves])
        assert torch.allclose(audio, expected, atol=2e-6)
        found = loaded.tokenizer(CAPTIONS, padding=True, return_tensors="pt")
        text = loaded.model.encode_text(found["input_ids"], found["attention_mask"])
        assert torch.allclose(text, original.texts(CAPTIONS), atol=2e-6)
    assert torch.allclose(audio.norm(dim=1), torch.ones(3), atol=1e-4)
    config = loaded.model.config
    assert (config.audio, config.width, config.head_width) == (DECODER, 24, 12)
    assert config.codec.codebooks == 4
    assert config.text.max_tokens == 40
    assert is_clap(published)


def test_ours_is_the_same_after_a_round_trip(published, tmp_path):
    loaded = load_clap(published)
    fingerprint = save_clap(loaded.model, tmp_path / "ours", tokenizer=loaded.tokenizer)
    again = save_clap(loaded.model, tmp_path / "again", tokenizer=loaded.tokenizer)
    assert fingerprint == again
    names = {path.name for path in (tmp_path / "ours").iterdir()}
    assert names >= {"config.json", "text.safetensors", "audio.safetensors", "tokenizer.json"}
    for path in (tmp_path / "ours").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    ours = load_clap(tmp_path / "ours", verify=True)
    assert ours.fingerprint == fingerprint
    state, expected = ours.model.state_dict(), loaded.model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)
    text = load_clap(tmp_path / "ours", towers=("text",))
    assert text.model.towers == ("text",)
    assert not any(name.startswith("audio") for name in text.model.state_dict())
    assert is_clap(tmp_path / "ours")
    assert not is_clap(tmp_path)
    half = load_clap(tmp_path / "ours", dtype=torch.bfloat16).model
    codec = loaded.model.codec.state_dict()
    assert all(torch.equal(half.codec.state_dict()[name], codec[name]) for name in codec)
    assert next(half.audio_head.parameters()).dtype == torch.bfloat16


swapped = tensors_of("audio.safetensors", replace("audio_head.0.bias", lambda bias: bias + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped, "not the weights that the checkpoint was saved with"),
        (setting("architecture", width=25), "fingerprint does not belong"),
        (setting(None, kind="clamp3"), "kind: Input should be 'clap_musicgen'"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: not readable as JSON"),
        (lambda f: (f / "text.safetensors").unlink(), "no such file"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer"),
    ],
)
def test_a_damaged_checkpoint_is_told(published, tmp_path, change, message):
    loaded = load_clap(published)
    save_clap(loaded.model, tmp_path / "ours", tokenizer=loaded.tokenizer)
    change(tmp_path / "ours")
    with pytest.raises(CheckpointError, match=message):
        load_clap(tmp_path / "ours", verify=True)


def test_a_published_checkpoint_that_lacks_a_tensor_is_told(published, tmp_path):
    copy = edited(published, tmp_path, without("text_encoder.projection.projection.3.bias"))
    with pytest.raises(CheckpointError, match=r"lacks the tensor 3\.bias"):
        load_clap(copy)
    copy = edited(
        copy, tmp_path / "second", without("audio_encoder.projection.projection.0.weight")
    )
    with pytest.raises(CheckpointError, match="neither a CLAP-MusicGen"):
        load_clap(copy)
    (copy / "model.safetensors").write_bytes(LFS_POINTER)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*git lfs pull"):
        load_clap(copy)
    with pytest.raises(CheckpointError, match="asked for the towers symbolic"):
        load_clap(published, towers=("symbolic",))


def test_half_characters_are_no_obstacle():
    half, marked = caption_tokens(tokenizer(), ["a \ud83c", "a ?"], 9)
    assert half.tolist() == marked.tolist()


def test_the_same_seed_writes_the_same_musicgen(folder, tmp_path):
    again, other = tiny_musicgen(tmp_path / "again"), tiny_musicgen(tmp_path / "other", seed=2)
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    weights = "model.safetensors"
    assert (other / weights).read_bytes() != (folder / weights).read_bytes()


def _fill_cheaply(model):
    """Every parameter is a view of the same random numbers, or ones."""
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    numbers = 0.03 * torch.randn(max(shape.numel() for shape in shapes.values()))
    state = {name: numbers[: shape.numel()].view(shape) for name, shape in shapes.items()}
    norms = {name: torch.ones(shape) for name, shape in shapes.items() if "norm" in name.lower()}
    model.load_state_dict(state | norms, assign=True)
    model.eval()


def test_a_musicgen_is_made_of_a_few_sizes(tmp_path):
    sizes = MusicgenArchitecture(
        filters=4, codebook_size=32, codebooks=3, hidden_size=32, layers=1, heads=2
    )
    make_musicgen(tmp_path / "made", sizes, seed=1)
    (codes,) = load_codec(tmp_path / "made").codes_of(sounds(1, 0.1))
    assert codes.shape == (3, 5)
    tower = load_decoder(tmp_path / "made", PUBLISHED_READING)
    assert tower(torch.from_numpy(codes)[None], whole([5], 5)).shape == (1, 32)
    with pytest.raises(ConfigError, match=r"new_musicgen.*expected a power of 2"):
        make_musicgen(tmp_path / "odd", sizes.model_copy(update={"codebook_size": 33}), seed=1)


def test_the_published_sizes():
    """musicgen-small, encodec_32khz and roberta-base, with cheap random weights."""
    text = TextTowerConfig(
        vocab_size=50265,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=514,
        max_tokens=512,
    )
    config = ClapModelConfig(text=text, audio=DecoderConfig(), codec=CodecConfig())
    with empty_weights():
        model = ClapModel(config)
    assert sum(p.numel() for p in model.audio_model.parameters()) == 310_482_944
    _fill_cheaply(model)
    words = tokenizer()(CAPTIONS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        audio = model.encode_audio(torch.from_numpy(np.stack(sounds(1))))
        texts = model.encode_text(words["input_ids"], words["attention_mask"])
    assert audio.shape == (1, 1024)
    assert texts.shape == (4, 1024)
    for vectors in (audio, texts):
        assert torch.isfinite(vectors).all()
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-4)
    assert len({tuple(row.tolist()) for row in texts}) == 4
