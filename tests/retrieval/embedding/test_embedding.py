"""Embeddings against the originals' recorded ones and against one piece, one segment at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clamp3.errors import CheckpointError, FormatError
from clamp3.formats.patches import encode_patches
from clamp3.models.checkpoints import LoadedClamp
from clamp3.models.tokenizer import encode_texts
from clamp3.retrieval.embedding import segments as embedding
from clamp3.retrieval.embedding.segments import (
    batches_by_length,
    cpu_threads,
    embed_pieces,
    embed_stream,
)

ATOL = 1e-5


def scores(count: int, seed: int = 0) -> list[str]:
    """Interleaved scores of 1 to 40 bars."""
    rng = np.random.default_rng(seed)
    header = "M:4/4\nK:C\nV:1 treble\n"
    return [
        header + "".join(f"[V:1]{rng.choice(list('CDEFGAB'))}4 z4|\n" for _ in range(bars))
        for bars in rng.integers(1, 40, count)
    ]


def recordings(count: int, width: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal((n, width)).astype(np.float32) for n in rng.integers(1, 30, count)]


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(6)
    words = ["reel", "in", "D", "major", "slow", "air", "for", "fiddle", "church"]
    return [" ".join(rng.choice(words, n)) for n in rng.integers(1, 40, count)]


PIECES = {"text": texts(12), "abc": scores(12), "audio": recordings(12)}


def plain_embedding(loaded: LoadedClamp, modality: str, piece: str | np.ndarray) -> np.ndarray:
    """One piece, segment by segment, without a batch, padding or mask of zeros anywhere."""
    config, model = loaded.config, loaded.model
    if modality == "text":
        rows = torch.tensor(encode_texts(loaded.tokenizer, [piece])[0])
        window, encode = config.text.max_tokens, model.encode_text
    elif modality == "audio":
        silence = np.zeros((1, piece.shape[1]), np.float32)
        rows = torch.from_numpy(np.concatenate([silence, piece, silence]))
        window, encode = config.audio.max_frames, model.encode_audio
    else:
        rows = torch.from_numpy(encode_patches(piece, patch_size=config.symbolic.patch_size))
        window, encode = config.symbolic.patch_length, model.encode_symbolic
    parts = [rows[start : start + window] for start in range(0, len(rows), window)]
    weights = [len(part) for part in parts]
    if len(rows) > window:
        parts[-1] = rows[-window:]
    with torch.inference_mode():
        vectors = [encode(part[None], torch.ones(1, len(part)).long())[0] for part in parts]
    total = sum(v.double() * weight for v, weight in zip(vectors, weights, strict=True))
    return (total / sum(weights)).numpy()


@pytest.mark.parametrize(
    ("letter", "batch_tokens"), [("A", 1500), ("B", 1), ("B", 100), ("B", 100_000)]
)
def test_the_originals_embeddings(
    golden_model: Callable, goldens: Path, letter: str, batch_tokens: int
):
    loaded, inputs = golden_model(letter)
    expected = np.load(goldens / f"models/extract_{letter}.npz")
    audio = np.load(goldens / f"models/extract_{letter}_audio_inputs.npz")
    given = {"text": {}, "abc": {}, "mtf": {}, "audio": dict(audio)}
    for name, text in inputs["inputs"].items():
        stem, suffix = name.rsplit(".", 1)
        # The originals read files as text, so \r\n reached them as \n.
        given["text" if suffix == "txt" else suffix][stem] = text.replace("\r\n", "\n")
    checked = 0
    for modality, pieces in given.items():
        known = {
            stem: piece for stem, piece in pieces.items() if f"clamp3_global/{stem}" in expected
        }
        found = embed_pieces(loaded, modality, list(known.values()), batch_tokens=batch_tokens)
        for stem, vector in zip(known, found, strict=True):
            np.testing.assert_allclose(vector[None], expected[f"clamp3_global/{stem}"], atol=ATOL)
            checked += 1
    assert checked == sum(name.startswith("clamp3_global/") for name in expected.files)


@pytest.mark.parametrize("modality", PIECES)
def test_each_piece_as_alone(tiny: LoadedClamp, modality: str):
    pieces = PIECES[modality]
    found = embed_pieces(tiny, modality, pieces, batch_tokens=40)
    expected = np.stack([plain_embedding(tiny, modality, piece) for piece in pieces])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(np.unique(found.round(3), axis=0)) > 6  # the pieces do differ


@pytest.mark.parametrize("modality", PIECES)
def test_neither_the_batch_nor_the_order_matters(tiny: LoadedClamp, modality: str):
    pieces = PIECES[modality]
    whole = embed_pieces(tiny, modality, pieces, batch_tokens=10_000)
    assert np.array_equal(whole, embed_pieces(tiny, modality, pieces, batch_tokens=10_000))
    order = np.random.default_rng(1).permutation(len(pieces))
    shuffled = embed_pieces(tiny, modality, [pieces[i] for i in order], batch_tokens=17)
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-6)


def test_mtf_is_read_by_the_symbolic_tower(tiny: LoadedClamp):
    piece = "ticks_per_beat 480\n" + "note_on 0 0 60 64\nnote_on 120 0 60 0\n" * 9
    found = embed_pieces(tiny, "mtf", [piece])[0]
    np.testing.assert_allclose(found, plain_embedding(tiny, "mtf", piece), atol=1e-6)


def test_nothing_is_computed_twice_or_beyond_the_budget():
    lengths = [3, 512, 7, 512, 511, 1, 100, 100]
    batches = list(batches_by_length(lengths, 1024))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[place] for place in batch) <= 1024
    assert list(batches_by_length([5, 9], 1)) == [[1], [0]]
    assert list(batches_by_length([], 10)) == []


def test_no_pieces(tiny: LoadedClamp):
    assert embed_pieces(tiny, "abc", []).shape == (0, 16)
    assert list(embed_stream(tiny, "abc", [])) == []


def test_a_stream_keeps_order_and_tells_what_failed(
    tiny: LoadedClamp, monkeypatch: pytest.MonkeyPatch
):
    def unreadable() -> str:
        raise FormatError("truncated", "the file ends early")

    pieces = scores(7)
    reads = [(f"p{i}", lambda piece=piece: piece) for i, piece in enumerate(pieces)]
    reads.insert(2, ("bad", unreadable))
    reads.insert(5, ("empty", lambda: ""))
    monkeypatch.setattr(embedding, "GROUP_PIECES", 3)
    found = dict(embed_stream(tiny, "abc", reads, batch_tokens=64))
    assert list(found) == [key for key, _ in reads]
    assert found["bad"].kind == "truncated"
    assert isinstance(found["empty"], FormatError)
    good = np.stack([found[f"p{i}"] for i in range(7)])
    np.testing.assert_allclose(good, embed_pieces(tiny, "abc", pieces), atol=1e-6)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((3, 7), np.float32), r"\[3, 7\], expected \[frames, 6\]"),
        (np.zeros(6, np.float32), r"of shape \[6\]"),
        (np.zeros((0, 6), np.float32), "without a single frame"),
        (np.full((2, 6), np.nan, np.float32), "NaN"),
        (np.full((2, 6), 1e300), "infinity"),
    ],
)
def test_features_that_do_not_fit(tiny: LoadedClamp, features: np.ndarray, message: str):
    with pytest.raises(FormatError, match=message):
        embed_pieces(tiny, "audio", [features])


def test_layers_of_features_are_read_one_after_the_other(tiny: LoadedClamp):
    stacked = np.random.default_rng(0).standard_normal((2, 3, 6))
    found = embed_pieces(tiny, "audio", [stacked, stacked.reshape(6, 6).astype(np.float16)])
    np.testing.assert_allclose(found[0], found[1], atol=5e-3)


def test_a_tower_that_is_not_there(tiny: LoadedClamp, golden_model: Callable):
    from dataclasses import replace

    from clamp3.models.clamp import ClampModel

    half = replace(tiny, model=ClampModel(tiny.config, towers=["symbolic"]).eval(), tokenizer=None)
    with pytest.raises(CheckpointError, match=r"no audio tower \(only symbolic\)"):
        embed_pieces(half, "audio", recordings(1))
    with pytest.raises(CheckpointError, match="no text tower"):
        embed_pieces(half, "text", ["a"])


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
