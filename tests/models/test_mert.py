"""MERT against recorded features, with the weights of a formula."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from models.formula import assert_same_weights, values
from repository import ROOT
from safetensors.torch import load_file, save_file
from transformers import HubertConfig, HubertModel

from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.formats.audio import Recording, resample
from clamp3.models.mert import MertFrontEnd, load_mert, mert_folder, receptive_field

RATE = 24_000
CONFIG = {
    "model_type": "mert_model",
    "architectures": ["MERTModel"],
    "auto_map": {"AutoModel": "modeling_MERT.MERTModel"},
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feature_extractor_cqt": False,
    "deepnorm": False,
    "attention_relax": -1.0,
    "sample_rate": 24_000,
}
ALL = ["mono16k_3s", "mono24k_12s3", "mono24k_5s0", "mono24k_5s9", "mono24k_6s0"]
ALL += ["stereo44k_2s5", "stereo48k_1s5"]


def published_weights():
    """The tensors under the names of the published file."""
    old = {"parametrizations.weight.original0": "weight_g"}
    old["parametrizations.weight.original1"] = "weight_v"
    weights = {}
    for name, tensor in HubertModel(HubertConfig.from_dict(CONFIG)).state_dict().items():
        for new, published in old.items():
            name = name.replace(new, published)
        weights[name] = values(name, tuple(tensor.shape))
    return weights


def write(folder, config=CONFIG, weights=None, safe=False):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weights = published_weights() if weights is None else weights
    if safe:
        save_file(weights, folder / "model.safetensors")
    else:
        torch.save(weights, folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "mert")


@pytest.fixture(scope="module")
def front_end(folder):
    return MertFrontEnd(folder, "cpu")


def noise(seconds, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.01, 0.1, round(seconds * RATE)).astype(np.float32)


def check_recorded(front_end, recorded, name):
    pcm16 = recorded[f"pcm16/{name}"].astype(np.float32) / 32768
    waveform = resample(pcm16.mean(axis=1, dtype=np.float32), int(recorded[f"sr/{name}"]), RATE)
    expected = recorded[f"mean_features/{name}"][0]
    np.testing.assert_allclose(front_end.features(waveform), expected, atol=2e-5)


def test_recorded_features(front_end):
    recorded = np.load(ROOT / "tests/golden/models/mert.npz")
    check_recorded(front_end, recorded, "mono16k_3s")


@pytest.mark.parametrize("name", ALL)
def test_all_recorded_features(front_end, goldens, name):
    check_recorded(front_end, np.load(goldens / "models/mert.npz"), name)


def test_recorded_weights(goldens):
    """The formula gives the tensors that the recorded features come from."""
    facts = json.loads((goldens / "models/mert.json").read_text())["weights_check"]
    weights = published_weights()
    assert weights.keys() == facts.keys()
    for name, (shape, first, last, *_) in facts.items():
        assert list(weights[name].shape) == shape
        assert weights[name].flatten()[0].item() == pytest.approx(first)
        assert weights[name].flatten()[-1].item() == pytest.approx(last)


def parametrized(weights):
    """The names that torch gives today."""
    new = "conv.parametrizations.weight.original"
    return {
        key.replace("conv.weight_g", f"{new}0").replace("conv.weight_v", f"{new}1"): value
        for key, value in weights.items()
    }


def test_a_safetensors_file_and_either_naming(folder, front_end, tmp_path):
    expected = front_end.features(noise(5))
    safe = write(tmp_path / "safe", safe=True)
    np.testing.assert_array_equal(MertFrontEnd(safe, "cpu").features(noise(5)), expected)
    renamed = write(tmp_path / "new", weights=parametrized(published_weights()))
    np.testing.assert_array_equal(MertFrontEnd(renamed, "cpu").features(noise(5)), expected)


def test_half_precision_weights_are_computed_in_single(tmp_path):
    half = {name: tensor.half() for name, tensor in published_weights().items()}
    model = load_mert(write(tmp_path / "half", weights=half))
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert not model.training


def test_a_pickle_as_torch_wrote_it_before_1_6_is_read(folder, tmp_path):
    old = write(tmp_path / "old")
    weights = old / "pytorch_model.bin"
    torch.save(published_weights(), weights, _use_new_zipfile_serialization=False)
    assert_same_weights(load_mert(old), load_mert(folder))
    whole = weights.read_bytes()
    for at in range(0, len(whole), len(whole) // 40):
        weights.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
        with suppress(CheckpointError):  # and nothing else; zeros within numbers go unnoticed
            load_mert(old)


def test_the_positional_convolution_is_the_files(folder):
    model, weights = load_mert(folder), published_weights()
    g = weights["encoder.pos_conv_embed.conv.weight_g"]
    v = weights["encoder.pos_conv_embed.conv.weight_v"]
    expected = g * v / v.norm(dim=(0, 1), keepdim=True)
    torch.testing.assert_close(model.encoder.pos_conv_embed.conv.weight, expected)


@pytest.mark.parametrize(("seconds", "frames"), [(5, 1), (5.9, 1), (6, 2), (12.5, 3)])
def test_shapes(front_end, seconds, frames):
    made = front_end.features(noise(seconds))
    assert made.shape == (frames, front_end.feature_size) == (frames, 64)
    assert made.dtype == np.float32


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_a_batch_of_windows_is_the_windows_one_by_one(folder, front_end, batch):
    waveform = noise(5.6)
    made = MertFrontEnd(
        folder, "cpu", window_seconds=1.0, min_tail_seconds=0.5, batch_windows=batch
    ).features(waveform)
    parts = Recording.of(waveform).windows(1.0, 0.5)
    alone = np.concatenate([front_end._rows(part[None]) for part in parts])
    np.testing.assert_allclose(made, alone, atol=2e-6)


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_recordings_together_are_the_recordings_one_by_one(folder, batch):
    lengths = {"window_seconds": 1.0, "min_tail_seconds": 0.3, "batch_windows": batch}
    front_end = MertFrontEnd(folder, "cpu", **lengths)
    waveforms = [noise(s, i) for i, s in enumerate((2.5, 1, 0.4, 0.1, 3.5, 2, 0.4))]
    broken = FormatError("corrupt_audio", "damaged")
    given = [*map(Recording.of, waveforms), broken]
    made = list(front_end.features_of(iter(given)))
    assert len(made) == 8
    assert made[3].kind == "too_short"
    assert made[7] is broken
    for number in (0, 1, 2, 4, 5, 6):
        alone = front_end.features(waveforms[number])
        np.testing.assert_allclose(made[number], alone, atol=2e-6)


def test_silence_has_features(front_end):
    made = front_end.features(np.zeros(5 * RATE, np.float32))
    assert len(made) == 1
    assert np.isfinite(made).all()


def test_a_window_does_not_depend_on_its_neighbours(front_end):
    """Two recordings of one level that share their first window."""
    first, second = noise(15, 1), noise(15, 1)
    second[5 * RATE :] = second[5 * RATE :][::-1]
    made = front_end.features(first), front_end.features(second)
    np.testing.assert_allclose(made[0][0], made[1][0], atol=2e-6)
    assert np.abs(made[0][1] - made[1][1]).max() > 1e-4


def test_level_does_not_matter(front_end):
    np.testing.assert_allclose(
        front_end.features(noise(6) * 8), front_end.features(noise(6)), atol=2e-4
    )


def test_too_short(folder, front_end):
    with pytest.raises(FormatError) as caught:
        front_end.features(noise(0.7))
    assert caught.value.kind == "too_short"
    with pytest.raises(ConfigError, match="min_tail_seconds"):
        MertFrontEnd(folder, "cpu", min_tail_seconds=0.01)


def test_receptive_field(front_end):
    config = HubertConfig.from_dict(CONFIG)
    assert receptive_field(config) == 400
    model = HubertModel(config).eval()
    assert model.feature_extractor(torch.zeros(1, 400)).shape[-1] == 1
    with pytest.raises(RuntimeError):
        model.feature_extractor(torch.zeros(1, 399))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_extractor_cqt", True),
        ("deepnorm", True),
        ("attention_relax", 32.0),
        ("sample_rate", 16_000),
    ],
)
def test_other_variants_are_refused(tmp_path, name, value):
    with pytest.raises(CheckpointError, match=f"{name} is {value}"):
        load_mert(write(tmp_path / "mert", {**CONFIG, name: value}))


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("naming", [dict, parametrized])
@pytest.mark.parametrize("name", ["weight_g", "weight_v", "layers.1.attention.q_proj.bias"])
def test_a_missing_tensor_is_named(tmp_path, name, naming, safe):
    weights = {key: value for key, value in published_weights().items() if name not in key}
    with pytest.raises(CheckpointError, match="lacks the tensor encoder"):
        load_mert(write(tmp_path / "mert", weights=naming(weights), safe=safe))


@pytest.mark.parametrize("name", ["weight", "weight_G", "weight_norm.g", "parametrizations.g"])
@pytest.mark.parametrize("part", ["weight_g", "weight_v"])
def test_a_positional_convolution_of_another_name_is_refused(tmp_path, part, name):
    weights = published_weights()
    stem = "encoder.pos_conv_embed.conv."
    weights[stem + name] = weights.pop(stem + part)
    with pytest.raises(CheckpointError, match=r"lacks the tensor encoder\.pos_conv_embed"):
        load_mert(write(tmp_path / "mert", weights=weights))


def test_both_namings_at_once_are_refused(tmp_path):
    weights = published_weights()
    weights |= {key: value * 2 for key, value in parametrized(weights).items()}
    with pytest.raises(CheckpointError, match=r"holds the unknown tensor encoder\.pos_conv_embed"):
        load_mert(write(tmp_path / "mert", weights=weights))


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_drawn(folder, seed):
    torch.manual_seed(seed)
    state = load_mert(folder).state_dict()
    for name, tensor in parametrized(published_weights()).items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


def write_shards(folder, safe):
    """The weights in two files, with the index that names them."""
    write(folder, weights={})
    (folder / "pytorch_model.bin").unlink()
    weights = list(published_weights().items())
    stem, suffix = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    where = {}
    for number, part in enumerate((weights[::2], weights[1::2]), start=1):
        name = f"{stem}-{number:05}-of-00002.{suffix}"
        save_file(dict(part), folder / name) if safe else torch.save(dict(part), folder / name)
        where |= dict.fromkeys(dict(part), name)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return index, where


@pytest.mark.parametrize("safe", [False, True])
def test_weights_in_several_files(front_end, tmp_path, safe):
    write_shards(tmp_path, safe)
    made = MertFrontEnd(tmp_path, "cpu").features(noise(5))
    np.testing.assert_array_equal(made, front_end.features(noise(5)))


def test_damaged_indexes(tmp_path):
    index, where = write_shards(tmp_path, safe=True)

    def refused(content, said):
        index.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(CheckpointError, match=said):
            load_mert(tmp_path)

    first = next(iter(where))
    refused("{", "not a readable index")
    refused("[]", "not a readable index")
    refused({"weight_map": {}}, "not a readable index")
    refused({"weight_map": {first: 3}}, "not a readable index")
    refused({"weight_map": {first: "../model.safetensors"}}, "files beside it")
    refused({"weight_map": where | {"more": where[first]}}, "lacks more, and the index")
    refused({"weight_map": {k: v for k, v in where.items() if k != first}}, f"holds {first}, and")
    refused({"weight_map": dict.fromkeys(where, "other.safetensors")}, "other.safetensors: not a")
    index.write_text(json.dumps({"weight_map": where}))
    load_mert(tmp_path)
    other = tmp_path / next(file for file in where.values() if file != where[first])
    save_file(load_file(other) | {first: published_weights()[first]}, other)
    refused({"weight_map": where}, f"{other.name}: holds {first}, and")


@pytest.mark.parametrize("safe", [False, True])
def test_by_its_name_on_the_hub(front_end, folder, tmp_path, monkeypatch, safe):
    """Only what is asked for is there; safetensors are preferred, and then nothing else asked."""
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        bins = any("bin" in pattern for pattern in allow_patterns)
        assert "config.json" in allow_patterns
        target = tmp_path / "cache"
        target.mkdir(exist_ok=True)
        return str(write(target, safe=True) if safe else folder if bins else target)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    made = MertFrontEnd("m-a-p/MERT-v1-95M", "cpu").features(noise(5))
    np.testing.assert_array_equal(made, front_end.features(noise(5)))
    assert {name for name, _ in asked} == {"m-a-p/MERT-v1-95M"}
    assert any("bin" in pattern for _, patterns in asked for pattern in patterns) != safe


def test_a_folder_is_itself(folder):
    assert mert_folder(folder) == mert_folder(str(folder)) == folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"final_proj.weight": torch.ones(2)}, r"holds the unknown tensor final_proj\.weight"),
        (
            {"masked_spec_embed": torch.ones(3)},
            r"masked_spec_embed has the shape \[3\], expected \[64\]",
        ),
        ({"masked_spec_embed": torch.full((64,), torch.nan)}, "not finite"),
        ({"step": 3}, "dictionary of tensors"),
    ],
)
def test_tensors_of_another_model(tmp_path, changes, said):
    folder = write(tmp_path / "mert", weights=published_weights() | changes)
    with pytest.raises(CheckpointError, match=said):
        load_mert(folder)


def test_damaged_folders(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: no such file; expected .* a MERT"):
        load_mert(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="list, expected a JSON object"):
        load_mert(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(CheckpointError, match="holds neither"):
        load_mert(tmp_path)
    data = (folder / "pytorch_model.bin").read_bytes()
    (tmp_path / "pytorch_model.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a readable file of weights"):
        load_mert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a readable"):
        load_mert(tmp_path)


class Program:
    def __reduce__(self):
        return print, ("this must not run",)


def test_programs_in_a_file_are_not_run(tmp_path, capsys):
    with pytest.raises(CheckpointError, match=r"only weights are read \(print\)"):
        load_mert(write(tmp_path / "mert", weights={"a": Program()}))
    assert not capsys.readouterr().out
