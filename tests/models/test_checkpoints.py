"""Checkpoint folders: what is saved is what is loaded, and faults are named."""

import pytest
import torch
from damage import change_json, change_tensors, drop, poison, replace
from formula import architecture, assert_same_weights, clamp_config, clamp_model, m3_model
from safetensors.torch import load_file

from clamp3.errors import CheckpointError
from clamp3.models.checkpoints import load_clamp, load_m3, read_config, save_checkpoint
from clamp3.models.clamp import ClampModel
from clamp3.models.m3 import M3Model
from clamp3.models.tokenizer import encode_texts, train_tokenizer

TOWERS = ("text", "symbolic", "audio")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a calm waltz", "a sad tune"], 100)


@pytest.fixture(scope="module")
def model():
    return clamp_model("K")


@pytest.fixture
def folder(tmp_path, model, tokenizer):
    save_checkpoint(model, tmp_path / "model", tokenizer=tokenizer, notes={"epoch": 3})
    return tmp_path / "model"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_saved_and_loaded_a_clamp_model_is_the_same(folder, model, tokenizer):
    loaded = load_clamp(folder, verify=True)
    assert loaded.config == model.config
    assert loaded.model.towers == TOWERS
    assert not loaded.model.training
    assert list(loaded.model.state_dict()) == list(model.state_dict())
    assert_same_weights(loaded.model, model)
    patches = torch.randint(1, 127, (2, 8, 16))
    with torch.no_grad():
        expected = model.encode_symbolic(patches, torch.ones(2, 8))
        torch.testing.assert_close(
            loaded.model.encode_symbolic(patches, torch.ones(2, 8)), expected, atol=1e-6, rtol=0
        )
    assert encode_texts(loaded.tokenizer, ["a sad waltz"]) == encode_texts(
        tokenizer, ["a sad waltz"]
    )


def test_saved_and_loaded_an_m3_model_is_the_same(tmp_path):
    model = m3_model("K")
    save_checkpoint(model, tmp_path / "m3")
    loaded = load_m3(tmp_path / "m3", verify=True)
    assert loaded.architecture == model.architecture
    assert_same_weights(loaded, model)
    base = loaded.decoder.base
    assert base.lm_head.weight is base.transformer.wte.weight
    assert loaded.encoder.patch_embedding.weight.t().is_contiguous()  # laid out for the sum
    assert not loaded.training
    loss = loaded.train().loss(*[torch.ones(1, 4, 16).int()] * 2, *[torch.ones(1, 4)] * 2)
    loss.backward()  # loaded weights can be trained
    assert base.transformer.wte.weight.grad.any()


def test_a_clamp2_model_is_saved_under_its_own_names(tmp_path):
    save_checkpoint(clamp_model("K", "clamp2"), tmp_path / "clamp2")
    assert {path.name for path in (tmp_path / "clamp2").iterdir()} == {
        "config.json",
        "text.safetensors",
        "symbolic.safetensors",
    }
    names = load_file(tmp_path / "clamp2" / "symbolic.safetensors")
    assert all(name.startswith(("music_model.", "music_proj.")) for name in names)
    assert load_clamp(tmp_path / "clamp2").model.config.kind == "clamp2"


def test_a_linear_layer_before_the_audio_tower_is_saved_with_it(tmp_path):
    config = clamp_config("K")
    narrow = config.audio.model_copy(update={"feature_size": 20})
    model = ClampModel(config.model_copy(update={"audio": narrow}))
    save_checkpoint(model, tmp_path / "model")
    loaded = load_clamp(tmp_path / "model", towers=["audio"]).model
    assert torch.equal(loaded.audio_embedding.weight, model.audio_embedding.weight)


def test_only_the_towers_asked_for_are_read(folder):
    for tower in ("symbolic", "audio"):
        (folder / f"{tower}.safetensors").unlink()
    loaded = load_clamp(folder, towers=["text"])
    assert loaded.model.towers == ("text",)
    assert loaded.tokenizer is not None
    (folder / "tokenizer.json").unlink()
    (folder / "text.safetensors").rename(folder / "symbolic.safetensors")
    with pytest.raises(CheckpointError, match=r"symbolic\.safetensors lacks the tensor symbolic_"):
        load_clamp(folder, towers=["symbolic"])


def test_the_tokenizer_is_read_with_the_text_tower_only(folder):
    assert load_clamp(folder, towers=["audio", "symbolic"]).tokenizer is None


def test_a_part_of_a_model_can_be_saved(folder, tmp_path):
    part = load_clamp(folder, towers=["audio", "text"])
    save_checkpoint(part.model, tmp_path / "part", tokenizer=part.tokenizer)
    loaded = load_clamp(tmp_path / "part")
    assert loaded.model.towers == ("text", "audio")
    assert loaded.config.symbolic is None
    with pytest.raises(CheckpointError, match="asked for the towers symbolic; it has text, audio"):
        load_clamp(tmp_path / "part", towers=["symbolic"])


def test_weights_can_be_loaded_in_half_precision(folder):
    loaded = load_clamp(folder, dtype=torch.bfloat16).model
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    frames = torch.randn(1, 4, 64, dtype=torch.bfloat16)
    assert loaded.encode_audio(frames, torch.ones(1, 4)).dtype == torch.bfloat16


def test_loading_leaves_the_random_generator_alone(folder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_clamp(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_model_gives_the_same_bytes(folder, tmp_path, model, tokenizer):
    save_checkpoint(model, tmp_path / "again", tokenizer=tokenizer, notes={"epoch": 3})
    assert contents(folder) == contents(tmp_path / "again")


def test_saving_what_was_loaded_gives_the_same_bytes(folder, tmp_path):
    loaded = load_clamp(folder)
    notes = read_config(folder).notes
    save_checkpoint(loaded.model, tmp_path / "again", tokenizer=loaded.tokenizer, notes=notes)
    assert contents(folder) == contents(tmp_path / "again")


def test_the_fingerprint_is_that_of_weights_and_sizes(tmp_path, model, tokenizer):
    def fingerprint(model, **options):
        print_ = save_checkpoint(model, tmp_path / "model", **options)
        assert load_clamp(tmp_path / "model").fingerprint == print_
        return print_

    plain = fingerprint(model)
    assert fingerprint(model, notes={"a": 1}) == plain
    assert fingerprint(model, tokenizer=tokenizer) != plain
    other = clamp_model("K")
    with torch.no_grad():
        other.audio_proj.bias[0] += 1
    assert fingerprint(other) != plain
    config = model.config.model_copy(update={"similarity": "cosine"})
    changed = ClampModel(config)
    changed.load_state_dict(model.state_dict())
    assert fingerprint(changed) != plain


def test_notes_are_kept_as_they_are(folder):
    assert read_config(folder).notes == {"epoch": 3}


FAULTS = [
    ("text", drop("text_proj.bias"), r"text\.safetensors lacks the tensor text_proj\.bias; is"),
    ("text", lambda t: [t.pop(n) for n in list(t)[:3]], r"lacks the tensor (\S+, ){2}\S+; is it"),
    (
        "text",
        lambda t: [t.pop(n) for n in list(t)[:13]] + [t.update(new=torch.ones(1))],
        r"lacks the tensor (\S+, ){9}\S+ and 3 more and holds the unknown tensor new; is it",
    ),
    (
        "audio",
        lambda t: t.update({"audio_proj.extra": torch.ones(1)}),
        r"audio\.safetensors holds the unknown tensor audio_proj\.extra",
    ),
    (
        "symbolic",
        replace("symbolic_proj.weight", torch.t),
        r"symbolic_proj\.weight has the shape \[64, 32\], expected \[32, 64\]; it looks transposed",
    ),
    (
        "symbolic",
        replace("symbolic_proj.bias", lambda t: t[:5]),
        r"symbolic_proj\.bias has the shape \[5\], expected \[32\]$",
    ),
    (
        "symbolic",
        replace("symbolic_proj.bias", poison(float("nan"))),
        r"symbolic_proj\.bias holds values that are not finite",
    ),
    (
        "audio",
        replace("audio_proj.weight", poison(float("-inf"))),
        r"audio_proj\.weight holds values that are not finite",
    ),
    ("audio", replace("audio_proj.bias", torch.Tensor.int), r"is torch\.int32, expected floats"),
]


@pytest.mark.parametrize(("tower", "change", "message"), FAULTS)
def test_wrong_tensors_are_named(folder, tower, change, message):
    change_tensors(folder / f"{tower}.safetensors", change)
    with pytest.raises(CheckpointError, match=message):
        load_clamp(folder)
    load_clamp(folder, towers=[name for name in TOWERS if name != tower])


def test_exchanged_values_are_found_on_request(folder):
    name = "symbolic_model.base.encoder.layer.0.attention.self.query.weight"
    # Square: names and shapes still fit.
    change_tensors(folder / "symbolic.safetensors", replace(name, torch.t))
    load_clamp(folder)
    with pytest.raises(CheckpointError, match=r"symbolic\.safetensors: not the weights"):
        load_clamp(folder, verify=True)


def test_missing_and_damaged_files_are_named(folder):
    path = folder / "text.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\x00" * 100, b"x" + whole):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"text\.safetensors: not a readable safetensors"):
            load_clamp(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"text\.safetensors: no such file"):
        load_clamp(folder)


def test_another_tokenizer_is_found(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(CheckpointError, match="not the tokenizer that the checkpoint was saved"):
        load_clamp(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file"):
        load_clamp(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(fingerprint="0"), "its fingerprint does not belong to its content"),
        (lambda c: c["architecture"].update(width=33), "was the file edited"),
        (lambda c: c.pop("parts"), "parts: Field required; was this folder written by"),
        (lambda c: c.update(kind="clap"), "a model of kind clap, expected m3 or clamp3 or clamp2"),
        (lambda c: c["architecture"].update(colour=1), "architecture.colour: Extra inputs"),
    ],
)
def test_edited_descriptions_are_found(folder, change, message):
    change_json(folder / "config.json", change)
    with pytest.raises(CheckpointError, match=message):
        load_clamp(folder)


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json: no such file; .*import-weights"):
        load_clamp(tmp_path)
    for content, message in (("{", "not readable as JSON"), ("[]", "list, expected a JSON object")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=message):
            load_m3(tmp_path)
    for content in ('{"model_type": "roberta"}', '{"kind": "roberta"}', '{"kind": ["roberta"]}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"of kind .*roberta.*, expected m3 or clamp3"):
            read_config(tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        read_config(tmp_path / "config.json")  # a file, where a folder is expected


def test_kinds_are_not_confused(folder, tmp_path):
    save_checkpoint(m3_model("K"), tmp_path / "m3")
    with pytest.raises(CheckpointError, match="of kind m3, expected clamp3"):
        load_clamp(tmp_path / "m3")
    with pytest.raises(CheckpointError, match="of kind clamp3, expected m3"):
        load_m3(folder)


def test_no_towers_or_unknown_ones_are_refused(folder):
    for towers in ([], ["image"]):
        with pytest.raises(CheckpointError, match="it has text, symbolic, audio"):
            load_clamp(folder, towers=towers)


def test_a_diverged_model_is_not_saved(folder):
    before = contents(folder)
    model = clamp_model("K")
    with torch.no_grad():
        model.text_proj.weight[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"text_proj\.weight holds values that are not fin"):
        save_checkpoint(model, folder)
    assert contents(folder) == before  # the folder of before is whole
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["weights.pth", "thesis/chapter.txt", "config.json"])
def test_a_folder_with_other_files_is_not_replaced(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(CheckpointError, match=f"holds {name.split('/')[0]}, which would be lost"):
        save_checkpoint(m3_model("K"), tmp_path)
    assert (tmp_path / name).is_file()


def test_a_checkpoint_takes_the_place_of_another_kind(folder):
    for name in ("README.md", ".snakemake_timestamp"):
        (folder / name).write_text("of the hub's library, and of Snakemake")
    save_checkpoint(M3Model(architecture("K")), folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "encoder.safetensors",
        "decoder.safetensors",
    }
