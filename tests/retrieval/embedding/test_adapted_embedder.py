"""One model with an adapter for each format: the same vectors as each adapter gives alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from models.formula import m3_model
from repository import ROOT
from retrieval.commands import run
from retrieval.workplace import performance, score, tiny_model

from clamp3 import load_model
from clamp3.config import load_params
from clamp3.errors import ConfigError
from clamp3.files import write_json
from clamp3.formats.audio import MelFrontEnd
from clamp3.models.checkpoints import load_clamp, save_checkpoint
from clamp3.models.lora import add_lora, save_adapter
from clamp3.retrieval.vectors import read_vectors

pytestmark = pytest.mark.filterwarnings(  # peft asks transformers by an old name
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an adapter for each format, and scores, performances, texts and features."""
    folder = tmp_path_factory.mktemp("adapted")
    tiny = tiny_model(MelFrontEnd.feature_size)
    save_checkpoint(tiny.model, folder / "model", tokenizer=tiny.tokenizer)
    for seed, name in enumerate(("abc", "mtf")):
        model = load_clamp(folder / "model").model
        torch.manual_seed(seed)
        add_lora(model, load_params(ROOT / "params.yaml").lora)
        for weight, tensor in model.named_parameters():
            if "lora_B" in weight:
                torch.nn.init.normal_(tensor, std=0.2)
        save_adapter(model, folder / name)
    music = folder / "music"
    music.mkdir()
    for number in range(5):
        (music / f"{number}.abc").write_text(score(number))
        (music / f"{number}.mtf").write_text(performance(number))
    (music / "text.txt").write_text("a slow air")
    frames = np.random.default_rng(0).normal(size=(3, MelFrontEnd.feature_size))
    np.save(music / "sound.npy", frames.astype(np.float32))
    return folder


def embedded(place: Path, adapter: object, pattern: str = "*") -> dict[str, np.ndarray]:
    found = load_model(place / "model", adapter=adapter, device="cpu").embed_files(
        sorted((place / "music").glob(pattern))
    )
    assert not found.rejected
    return dict(zip(found.ids, found.embeddings, strict=True))


def test_vectors_are_those_of_each_adapter_alone(place: Path):
    both = embedded(place, {"abc": place / "abc", "mtf": place / "mtf"})
    plain = embedded(place, None)
    assert both.keys() == plain.keys()
    for name in ("abc", "mtf"):
        alone = embedded(place, place / name, f"*.{name}")
        assert len(alone) == 5
        for key, vector in alone.items():
            np.testing.assert_array_equal(both[key], vector)
            assert np.abs(plain[key] - vector).max() > 1e-3
    for key in ("text.txt", "sound.npy"):
        np.testing.assert_array_equal(both[key], plain[key])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pieces_of_both_kinds_in_turn(place: Path, dtype: str):
    both = {"abc": place / "abc", "mtf": place / "mtf"}
    model = load_model(place / "model", adapter=both, device="cpu", dtype=dtype)
    alone = {
        name: load_model(place / "model", adapter=folder, device="cpu", dtype=dtype)
        for name, folder in both.items()
    }
    for number in (1, 2, 1):
        for name, given in (
            ("abc", {"score": score(number)}),
            ("mtf", {"performance": performance(number)}),
        ):
            np.testing.assert_array_equal(model.embed(**given), alone[name].embed(**given))


def test_a_format_without_adapter_is_read_by_the_base(place: Path):
    some, plain = embedded(place, {"abc": place / "abc"}), embedded(place, None)
    for number in range(5):
        np.testing.assert_allclose(some[f"{number}.mtf"], plain[f"{number}.mtf"], atol=2e-6)
        assert np.abs(some[f"{number}.abc"] - plain[f"{number}.abc"]).max() > 1e-3


def test_the_fingerprint_says_which_weights_there_were(place: Path):
    def fingerprint(adapter: object, *modalities: str) -> str:
        model = load_model(place / "model", adapter=adapter, device="cpu")
        origin = model.origin(modalities)
        assert origin.space == model.space
        return origin.fingerprint

    abc, mtf = place / "abc", place / "mtf"
    both = {"abc": abc, "mtf": mtf}
    base = fingerprint(None, "abc", "mtf")
    assert fingerprint(both, "abc") == fingerprint(abc, "abc") == fingerprint(abc, "abc", "text")
    assert fingerprint(both, "mtf") == fingerprint(mtf, "mtf") != fingerprint(abc, "mtf")
    assert fingerprint(both, "text", "audio") == fingerprint({"abc": abc}, "mtf") == base
    mixed = [both, {"abc": mtf, "mtf": abc}, {"abc": abc}, {"mtf": abc}, abc, None]
    assert len({fingerprint(adapter, "abc", "mtf") for adapter in mixed}) == len(mixed)
    assert fingerprint({"abc": abc, "mtf": abc}, "abc", "mtf") == fingerprint(abc, "abc", "mtf")


def test_two_adapters_are_not_merged_into_one_model(place: Path, tmp_path: Path):
    adapters = {"abc": place / "abc", "mtf": place / "mtf"}
    with pytest.raises(ConfigError, match="two adapters cannot be merged into one model"):
        load_model(place / "model", adapter=adapters).save_pretrained(tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_m3_has_no_adapter(place: Path, tmp_path: Path):
    save_checkpoint(m3_model("K"), tmp_path / "m3")
    with pytest.raises(ConfigError, match="an M3; adapters are for CLaMP's symbolic tower"):
        load_model(tmp_path / "m3", adapter=place / "abc")


def test_on_the_command_line_adapters_are_named_one_by_one(place: Path, tmp_path: Path):
    options = ["--model", place / "model", "--adapter", f"abc={place / 'abc'}"]
    options += ["--adapter", f"mtf={place / 'mtf'}", "--device", "cpu"]
    table = tmp_path / "all.parquet"
    done = run("embed", place / "music", table, *options, "--workers", 0)
    assert done.exit_code == 0, done.output
    found = read_vectors(table)
    expected = embedded(place, {"abc": place / "abc", "mtf": place / "mtf"})
    for key, vector in zip(found.ids, found.embeddings, strict=True):
        np.testing.assert_array_equal(vector, expected[key])
    done = run("search", place / "music/1.abc", table, *options, "--top-k", 1)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("1\t1.0000\t1.abc")
    (tmp_path / "labels.txt").write_text("reel\njig\n")
    labels = ["--labels", tmp_path / "labels.txt"]
    done = run("zero-shot", place / "music/1.abc", *labels, *options)
    assert done.exit_code == 0, done.output
    done = run("search", "a reel", table, "--model", place / "model", "--adapter", "x=y")
    assert done.exit_code == 1
    assert "adapter x=y: expected one of abc, mtf" in done.output


def test_what_an_adapter_was_trained_for_is_recorded(place: Path, tmp_path: Path):
    folder = tmp_path / "own"
    folder.mkdir()
    for path in (place / "abc").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_json(folder / "history.json", {"modality": "abc"})
    plain, own = embedded(place, None), embedded(place, folder)
    np.testing.assert_array_equal(own["1.mtf"], plain["1.mtf"])
    assert np.abs(own["1.abc"] - plain["1.abc"]).max() > 1e-3
