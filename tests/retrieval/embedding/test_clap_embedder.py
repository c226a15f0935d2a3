"""CLAP-MusicGen for users: texts, sound files, waveforms, folders, faults."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from models.tiny_clap import CAPTIONS, Original, sounds

from clamp3 import load_model
from clamp3.errors import CheckpointError, ConfigError, FormatError
from clamp3.models.clap_musicgen.checkpoints import load_clap, save_clap
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.embedding.command import embed_sources
from clamp3.retrieval.embedding.sources import find_sources
from clamp3.retrieval.vectors import read_vectors

RATE = 32_000


@pytest.fixture(scope="module")
def original():
    return Original()


@pytest.fixture(scope="module")
def published(tmp_path_factory, original):
    return original.save(tmp_path_factory.mktemp("models") / "published")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, published):
    """Ours, with short chunks."""
    loaded = load_clap(published)
    config = loaded.model.config.model_copy(update={"chunk_seconds": 1.5})
    loaded.model.config = config
    made = tmp_path_factory.mktemp("models") / "ours"
    save_clap(loaded.model, made, tokenizer=loaded.tokenizer)
    return made


@pytest.fixture(scope="module")
def model(folder):
    return ClapEmbedder(folder, device="cpu")


def written(path, wave, rate=RATE):
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path


def test_the_originals_vectors_come_out(published, original):
    model = ClapEmbedder(published, device="cpu")
    assert model.embed_text(CAPTIONS).shape == (4, 24)
    assert np.allclose(model.embed_text(CAPTIONS), original.texts(CAPTIONS).numpy(), atol=2e-6)
    waves = sounds(2)
    expected = torch.cat([original.audio(wave) for wave in waves]).numpy()
    assert np.allclose(model.embed_audio(np.stack(waves)), expected, atol=2e-5)
    assert model.embed_audio(torch.from_numpy(waves[0]).bfloat16()).shape == (1, 24)
    assert model.embed_audio(waves[0].astype(np.float16)).shape == (1, 24)
    tensor = torch.from_numpy(np.stack(waves))[:, None]
    assert np.allclose(model.embed_audio(tensor), expected, atol=2e-5)
    assert model.embed_audio(waves[0]).shape == (1, 24)


def test_files_bytes_and_waveforms_are_one(model, tmp_path):
    wave = sounds(1)[0]
    path = written(tmp_path / "a.wav", wave)
    expected = model.embed_audio(wave)[0]
    assert np.linalg.norm(expected) == pytest.approx(1)
    for found in (
        model.embed_audio(path)[0],
        model.embed_audio([str(path)])[0],
        model.embed(recording=path),
        model.embed(recording=path.read_bytes()),
        model.embed(recording=wave, sample_rate_hz=RATE),
        model.embed(recording=np.stack([wave, wave]), sample_rate_hz=RATE),
        model.embed_files(path).embeddings[0],
    ):
        assert np.allclose(found, expected, atol=1e-6)
    assert model.embed_audio([]).shape == (0, 24)
    assert model.embed_text([]).shape == (0, 24)


def test_a_long_recording_is_read_in_chunks(model):
    wave = sounds(1, 4.0)[0]
    ends = [0, 48_000, 96_000, 128_000]
    parts = [model.embed_audio(wave[a:b])[0] for a, b in pairwise(ends)]
    mean = np.mean(parts, axis=0)
    assert np.allclose(model.embed_audio(wave)[0], mean / np.linalg.norm(mean), atol=1e-6)
    two = model.embed_audio(wave[:100_000])  # what is left of a second is no chunk
    assert np.allclose(two, model.embed_audio(wave[:96_000]), atol=1e-6)
    assert np.isfinite(model.embed_audio(wave[:4000])).all()


def test_batch_and_order_change_nothing(model, tmp_path):
    alone = [model.embed_text(text) for text in CAPTIONS]
    assert np.allclose(model.embed_text(CAPTIONS[::-1])[::-1], alone, atol=2e-6)
    (tmp_path / "a.txt").write_text(CAPTIONS[2], encoding="utf-8")
    assert np.allclose(model.embed(text=tmp_path / "a.txt"), alone[2], atol=2e-6)
    (tmp_path / "b.txt").write_bytes(b"na\xefve")
    with pytest.raises(FormatError, match="not UTF-8"):
        model.embed(text=tmp_path / "b.txt")
    long = model.embed_text(" ".join(CAPTIONS * 20))
    assert np.isfinite(long).all()


@pytest.mark.parametrize(
    ("wave", "rate", "kind"),
    [
        (np.empty(0, np.float32), RATE, "no_samples"),
        (np.full(RATE, np.nan, np.float32), RATE, "not_finite"),
        (np.full(RATE, 1e300), RATE, "not_finite"),
        (np.full(RATE, np.inf, np.float16), RATE, "not_finite"),
        (torch.zeros(RATE, dtype=torch.int16), RATE, "bad_waveform"),
        (np.zeros(32, np.float32), RATE, "too_short"),
        (np.zeros(RATE, np.float32), 0, "bad_sample_rate"),
        (np.zeros(RATE, np.int16), RATE, "bad_waveform"),
        (np.zeros((1, 2, RATE), np.float32), RATE, "bad_waveform"),
    ],
)
def test_a_bad_waveform_is_one_clear_error(model, wave, rate, kind):
    with pytest.raises(FormatError) as caught:
        model.embed_audio(wave, rate)
    assert caught.value.kind == kind


def test_a_folder_of_files_becomes_a_table(model, tmp_path):
    given = tmp_path / "music"
    given.mkdir()
    written(given / "a.wav", sounds(1)[0])
    written(given / "bad.wav", np.full(RATE, np.nan))
    written(given / "low.wav", sounds(1, seed=3)[0][::4], 8000)
    (given / "words.txt").write_text(CAPTIONS[1])
    (given / "tune.abc").write_text("X:1\nK:C\nCDEF|\n")
    np.save(given / "f.npy", np.zeros((3, 4), np.float32))
    out = tmp_path / "out.parquet"
    count, rejected = embed_sources(model, [given], out)
    assert count == 6
    assert [(name, error.kind) for name, error in rejected] == [
        ("bad.wav", "not_finite"),
        ("f.npy", "no_tower"),
        ("tune.abc", "no_tower"),
    ]
    vectors = read_vectors(out)
    assert vectors.ids == ["a.wav", "low.wav", "words.txt"]
    assert vectors.origin.space == model.space
    assert vectors.origin.modality == "audio,text"
    assert np.allclose(vectors.embeddings[2], model.embed_text(CAPTIONS[1]), atol=1e-6)
    again, _ = model.embed_sources(find_sources([given])[0])
    assert np.allclose(again.embeddings, vectors.embeddings, atol=1e-6)
    with pytest.raises(ConfigError, match="temporal"):
        embed_sources(model, [given], out, temporal=True)


def test_one_tower_alone(folder, published, tmp_path):
    text = ClapEmbedder(folder, towers=("text",), device="cpu")
    assert text.towers == ("text",)
    assert text.embed_text("rap").shape == (24,)
    with pytest.raises(CheckpointError, match="no audio tower"):
        text.embed_audio(sounds(1)[0])
    assert text.space == ClapEmbedder(folder, device="cpu").space
    audio = ClapEmbedder(folder, towers=("audio",), device="cpu")
    with pytest.raises(CheckpointError, match="no text tower"):
        audio.embed_text("rap")
    (copy := tmp_path / "copy").mkdir()
    for name in ("config.json", "model.safetensors"):
        (copy / name).write_bytes((published / name).read_bytes())
    silent = ClapEmbedder(copy, device="cpu")
    with pytest.raises(CheckpointError, match="holds no tokenizer"):
        silent.embed_text("rap")
    named = ClapEmbedder(copy, device="cpu", tokenizer=published)
    assert np.allclose(named.embed_text("rap"), text.embed_text("rap"), atol=1e-6)


def test_saving_a_published_model_makes_it_ours(published, model, tmp_path):
    first = ClapEmbedder(published, device="cpu")
    first.save_pretrained(tmp_path / "ours")
    second = ClapEmbedder(tmp_path / "ours", device="cpu")
    assert second.space == first.space
    assert np.array_equal(second.embed_text(CAPTIONS), first.embed_text(CAPTIONS))
    with pytest.raises(ConfigError, match="name another folder"):
        second.save_pretrained(tmp_path / "ours")
    half = ClapEmbedder(tmp_path / "ours", device="cpu", dtype="bfloat16")
    near = np.sum(half.embed_text(CAPTIONS) * first.embed_text(CAPTIONS), axis=1)
    assert (near > 0.99).all()
    assert half.embed_audio(sounds(1)[0]).dtype == np.float32
    with pytest.raises(ConfigError, match="dtype int8"):
        ClapEmbedder(published, dtype="int8")
    with pytest.raises(ConfigError, match="expected one of text, recording"):
        model.embed()


def test_load_model_tells_it_from_a_clamp(published, folder, tmp_path):
    for source in (published, folder):
        model = load_model(source, device="cpu")
        assert isinstance(model, ClapEmbedder)
        assert model.embed_text(CAPTIONS).shape == (4, 24)
        assert model.embed_audio(np.zeros(RATE, np.float32)).shape == (1, 24)
    assert load_model(folder, towers=("text",), device="cpu").towers == ("text",)
    with pytest.raises(ConfigError, match="no use for adapter, mert"):
        load_model(folder, adapter="a", mert="m", device="cpu")
    with pytest.raises(CheckpointError, match="no such file"):
        load_model(tmp_path / "nothing")
