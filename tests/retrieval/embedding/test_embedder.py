"""The Python side: texts, bytes, arrays and paths in, arrays out; saved, loaded, and told apart."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from models.formula import clamp_model, m3_model
from repository import ROOT
from retrieval.workplace import MUSICXML, STANDARD, performance, score, tiny_model

from clamp3 import Embedder, load_model
from clamp3.config import load_params
from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.audio import MelFrontEnd, read_audio
from clamp3.formats.mtf import midi_to_mtf, mtf_to_midi
from clamp3.formats.musicxml import musicxml_to_abc
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import LoadedClamp, load_clamp, save_checkpoint
from clamp3.models.lora import add_lora, save_adapter
from clamp3.retrieval.embedding.segments import embed_pieces
from clamp3.retrieval.embedding.sources import score_text


@pytest.fixture(scope="module")
def loaded() -> LoadedClamp:
    return tiny_model(MelFrontEnd.feature_size)


@pytest.fixture(scope="module")
def folder(loaded: LoadedClamp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedder") / "model"
    save_checkpoint(loaded.model, path, tokenizer=loaded.tokenizer)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Embedder:
    return load_model(folder, device="cpu")


def same(found: np.ndarray, loaded: LoadedClamp, modality: str, piece: object) -> None:
    expected = embed_pieces(loaded, modality, [piece])[0]
    assert (found.dtype, found.shape) == (np.float32, (16,))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_texts(model: Embedder, loaded: LoadedClamp, tmp_path: Path):
    found = model.embed_text(["a slow air", "a reel\nin D"])
    assert found.shape == (2, 16)
    same(found[1], loaded, "text", "a reel\nin D")
    same(model.embed_text("a slow air"), loaded, "text", "a slow air")
    same(model.embed(text="a slow air"), loaded, "text", "a slow air")
    assert model.embed_text([]).shape == (0, 16)
    assert model.embed_files([]).ids == []
    same(model.embed(text="mel\udce9 \ud83c"), loaded, "text", "mel? ?")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa reel\r\nin D")
    same(model.embed(text=tmp_path / "a.txt"), loaded, "text", "a reel\nin D")


@pytest.mark.parametrize(("name", "most"), [("a.txt", 2**23), ("a.mtf", 2**26)])
def test_what_would_fill_the_memory_is_refused(model: Embedder, tmp_path: Path, name, most):
    with open(tmp_path / name, "w") as file:
        file.write("ticks_per_beat 480\n" if name == "a.mtf" else "words")
        file.truncate(most + 1)
    found = model.embed_files(tmp_path)
    assert [(i, error.kind) for i, error in found.rejected] == [(name, "too_large")]


def test_scores(model: Embedder, loaded: LoadedClamp, tmp_path: Path):
    (tmp_path / "a.abc").write_text(STANDARD)
    interleaved = interleave_abc(STANDARD)
    for given in (STANDARD, interleaved, STANDARD.encode(), tmp_path / "a.abc"):
        same(model.embed(score=given), loaded, "abc", interleaved)
    document = MUSICXML.encode()
    same(model.embed(score=document), loaded, "abc", interleave_abc(musicxml_to_abc(document)))
    same(model.embed(score=STANDARD.replace("\n", "\r\n")), loaded, "abc", interleaved)


def test_performances(model: Embedder, loaded: LoadedClamp, tmp_path: Path):
    mtf = performance(4)
    midi = mtf_to_midi(mtf)
    (tmp_path / "a.mid").write_bytes(midi)
    same(model.embed(performance=mtf), loaded, "mtf", mtf)
    same(model.embed(performance=mtf.encode()), loaded, "mtf", mtf)
    for given in (midi, tmp_path / "a.mid"):
        same(model.embed(performance=given), loaded, "mtf", midi_to_mtf(midi))


def test_recordings_and_features(model: Embedder, loaded: LoadedClamp, tmp_path: Path):
    tone = np.sin(np.arange(3 * 24_000) / 9).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, tone, 24_000, format="WAV", subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(buffer.getvalue())
    features = MelFrontEnd().features(read_audio(buffer.getvalue()))
    for given in (buffer.getvalue(), tmp_path / "a.wav"):
        same(model.embed(recording=given), loaded, "audio", features)
    same(model.embed(recording=tone, sample_rate_hz=24_000), loaded, "audio", features)
    stereo = np.stack([tone, tone])
    same(model.embed(recording=stereo, sample_rate_hz=24_000), loaded, "audio", features)
    np.save(tmp_path / "a.npy", features[None].astype(np.float64))
    for given in (features, features[None], tmp_path / "a.npy"):
        same(model.embed(features=given), loaded, "audio", features)
    for shape in ((1, 0, 256), (1, 5, 0)):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        with pytest.raises(FormatError, match="features"):
            model.embed(features=tmp_path / "a.npy")
    at_48 = model.embed(recording=np.repeat(tone, 2), sample_rate_hz=48_000)
    assert np.dot(at_48, model.embed(recording=tone, sample_rate_hz=24_000)) > 0


def test_temporal_features(model: Embedder):
    assert model.embed(score=score(5), temporal=True).shape[1] == 64
    rows = len(encode_patches(score(5), patch_size=16))
    assert model.embed(score=score(5), temporal=True).shape == (rows, 64)
    assert model.embed(text="a reel", temporal=True).shape[1] == 16


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ConfigError, "0 pieces given; expected one of text, score"),
        ({"text": "a", "score": "b"}, ConfigError, "2 pieces given"),
        ({"score": "tune.abc"}, ConfigError, "looks like a file name"),
        ({"score": 3}, ConfigError, "score: a int; expected a text, bytes or a Path"),
        ({"score": b"MThd\x00\x00\x00\x06"}, FormatError, "hold midi, expected musicxml or abc"),
        ({"score": ""}, FormatError, "empty"),
        ({"text": b"\xff\xfe"}, FormatError, "not UTF-8"),
        ({"recording": np.zeros(9, np.float32)}, ConfigError, "needs its sample_rate_hz"),
        ({"recording": "noise"}, ConfigError, "recording: a text"),
        (
            {"recording": np.zeros(9, np.int16), "sample_rate_hz": 24_000},
            FormatError,
            "expected floats",
        ),
        ({"recording": np.full(9, np.nan), "sample_rate_hz": 24_000}, FormatError, "NaN"),
        ({"recording": b"RIFF"}, FormatError, "hold text, expected audio"),
        ({"features": np.zeros((3, 7), np.float32)}, FormatError, r"expected \[frames, 256\]"),
        ({"features": np.array(["a"])}, FormatError, "features"),
        (
            {"recording": np.zeros((48_000, 2)), "sample_rate_hz": 24_000},
            FormatError,
            r"shape \[48000, 2\]: expected \[channels, samples\]",
        ),
    ],
)
def test_what_cannot_be_embedded_is_told(
    model: Embedder, given: dict, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        model.embed(**given)


def test_standard_abc_is_interleaved_and_all_else_is_as_it_is():
    interleaved = interleave_abc(STANDARD)
    for text, expected in (
        (STANDARD, interleaved),
        (interleaved, interleaved),
        ("K:C\r\nCDE|FGA|\r\n", "K:C\nCDE|FGA|\n"),
        ("X:1\nK:C\nno bars|", interleave_abc("X:1\nK:C\nno bars|")),
        ("X:1\nK:C\nno bars\n", "X:1\nK:C\nno bars\n"),
        ("X:1\nT:a|b\nK:C\n% a|b\n", "X:1\nT:a|b\nK:C\n% a|b\n"),
    ):
        assert score_text(text) == expected
    assert score_text(STANDARD, as_is=True) == STANDARD


def test_half_precision_stays_near(folder: Path, model: Embedder):
    half = load_model(folder, device="cpu", dtype="bfloat16")
    for given in ({"score": score(3)}, {"text": "a reel"}):
        one, other = model.embed(**given), half.embed(**given)
        assert other.dtype == np.float32
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert 0.999 < cosine < 0.9999999
    with pytest.raises(ConfigError, match="dtype int8: expected one of float32"):
        load_model(folder, dtype="int8")


def test_named_towers_are_read_at_once_and_no_other_can_be_used(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "part")
    for name in ("symbolic", "audio"):
        (tmp_path / f"part/{name}.safetensors").unlink()
    text = load_model(tmp_path / "part", towers=["text"], device="cpu")
    assert text.embed_text("a reel").shape == (16,)
    with pytest.raises(CheckpointError, match=r"has no symbolic tower \(only text\)"):
        text.embed(score=score(1))
    with pytest.raises(CheckpointError, match=r"symbolic\.safetensors"):
        load_model(tmp_path / "part", towers=["symbolic"], device="cpu")


def test_m3_has_hidden_states_only(tmp_path: Path):
    save_checkpoint(m3_model("K"), tmp_path / "m3")
    model = load_model(tmp_path / "m3", device="cpu")
    rows = len(encode_patches(score(5), patch_size=16))
    assert model.embed(score=score(5), temporal=True).shape == (rows, 64)
    with pytest.raises(ConfigError, match="temporal"):
        model.embed(score=score(5))
    with pytest.raises(CheckpointError, match="no text tower"):
        model.embed_text("a")


@pytest.mark.parametrize(
    ("kind", "option", "kept"),
    [("clamp3", None, False), ("clamp2", None, True), ("clamp2", False, False)],
)
def test_the_unit_length_is_kept_for_clamp2(
    tmp_path: Path, kind: str, option: bool | None, kept: bool
):
    save_checkpoint(clamp_model("B", kind), tmp_path / "m")
    model = load_model(tmp_path / "m", device="cpu", keep_unit_length=option)
    rows = len(model.embed(score=score(5), temporal=True))
    assert rows == len(encode_patches(score(5))) + kept


def test_saved_and_loaded_again_it_is_the_same(model: Embedder, folder: Path, tmp_path: Path):
    model.save_pretrained(tmp_path / "saved")
    again = Embedder.from_pretrained(str(tmp_path / "saved"), device="cpu")
    assert again.space == model.space
    assert np.array_equal(again.embed_text("a reel"), model.embed_text("a reel"))
    for name in ("config.json", "text.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (folder / name).read_bytes()
    assert "clamp3" in (tmp_path / "saved/README.md").read_text()
    with pytest.raises(ConfigError, match="the model is there already"):
        model.save_pretrained(folder)
    assert (folder / "config.json").is_file()


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_an_adapter_is_saved_merged(folder: Path, loaded: LoadedClamp, tmp_path: Path):
    adapted = add_lora(load_clamp(folder).model, load_params(ROOT / "params.yaml").lora)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            tensor.data[:] = 0.05
    save_adapter(adapted, tmp_path / "adapter")
    model = load_model(folder, adapter=tmp_path / "adapter", device="cpu")
    plain = load_model(folder, device="cpu")
    assert np.abs(model.embed(score=score(2)) - plain.embed(score=score(2))).max() > 1e-3
    assert np.array_equal(model.embed_text("a"), plain.embed_text("a"))
    assert model.origin(["abc"]).fingerprint != model.space
    assert model.origin(["text"]).fingerprint == model.space
    model.save_pretrained(tmp_path / "merged")
    merged = load_model(tmp_path / "merged", device="cpu")
    np.testing.assert_allclose(merged.embed(score=score(2)), model.embed(score=score(2)), atol=1e-6)
    (tmp_path / "merged/thesis.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds thesis\.txt, which would be lost"):
        model.save_pretrained(tmp_path / "merged")
    assert (tmp_path / "merged/config.json").is_file()


class Hub:
    """Stands in for the hub's client: one model, copied to where it is asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked: list[str] = []

    def download(self, repo_id: str, **options: object) -> str:
        self.asked.append(repo_id)
        return str(self.folder)


def test_a_name_on_the_hub(
    model: Embedder, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    hub = Hub(folder)
    monkeypatch.setattr("clamp3.retrieval.embedding.embedder.snapshot_download", hub.download)
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download", lambda *_, **__: str(folder / "config.json")
    )
    found = Embedder.from_pretrained("someone/some-model", device="cpu", revision="v1")
    assert hub.asked == ["someone/some-model"]
    assert np.array_equal(found.embed_text("a reel"), model.embed_text("a reel"))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there(folder: Path, name: str):
    with pytest.raises(ConfigError, match=f"device '?{name}'?: "):
        load_model(folder, device=name)


def test_a_folder_that_is_not_there():
    with pytest.raises(CheckpointError, match="no such file"):
        load_model("nowhere")
