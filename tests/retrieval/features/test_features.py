"""Features of recordings: which pieces, which rows, what the table says of itself."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from audio_settings import AUDIO

from clamp3.config import AudioConfig
from clamp3.data.rejected import read_rejected
from clamp3.errors import CheckpointError, ConfigError, DataError
from clamp3.files import write_json, write_table
from clamp3.formats.audio import encode_ogg
from clamp3.retrieval.features.rows import build_front_end, extract_features

RATE = 24_000


def settings(**changes):
    return AudioConfig(**AUDIO | changes)


def noise(seconds):
    rng = np.random.default_rng(round(seconds * 10))
    return rng.uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A work tree with a catalogue of six pieces and an empty folder for recordings."""
    monkeypatch.chdir(tmp_path)
    write_catalog(["pdmx/a", "pdmx/b", "pdmx/c", "pdmx/d", "pdmx/e", "wikimt_x/f"])
    (tmp_path / "recordings").mkdir()
    return tmp_path


def write_catalog(ids, **named):
    paths = [named.get(name.split("/")[1]) for name in ids]
    columns = {"id": ids, "audio_path": pa.array(paths, pa.string())}
    write_table(Path("catalog.parquet"), pa.table(columns))


def extract(**changes):
    extract_features(
        Path("catalog.parquet"),
        recordings=Path("recordings"),
        table=Path("features.parquet"),
        rejected=Path("rejected.parquet"),
        settings=settings(**changes),
    )
    return pq.read_table("features.parquet")


def test_a_recording_that_the_catalogue_names_is_taken_from_there(work):
    Path("sdd").mkdir()
    soundfile.write("sdd/7.2min.wav", noise(12.5), RATE)
    soundfile.write("recordings/b.wav", noise(5), RATE)
    soundfile.write("recordings/c.wav", noise(5), RATE)
    names = ["pdmx/b", "song_describer/c", "song_describer/d"]
    write_catalog(names, c="sdd/7.2min.wav", d="sdd/none.wav")
    table = extract(max_rejected_share=0.5)
    assert table.column("id").to_pylist() == ["pdmx/b", "song_describer/c"]
    assert [len(rows) for rows in table.column("features").to_pylist()] == [1, 3]
    (lost,) = read_rejected(Path("rejected.parquet"))
    assert (lost.id, lost.kind) == ("song_describer/d", "missing_file")


def test_one_row_per_window_for_each_piece_with_a_file(work, caplog):
    soundfile.write("recordings/b.wav", noise(12.5), RATE)
    soundfile.write("recordings/a.flac", noise(5), RATE)
    soundfile.write("recordings/f.wav", np.stack([noise(6), noise(6)], axis=1), RATE)
    soundfile.write("recordings/stranger.wav", noise(6), RATE)
    with caplog.at_level(logging.INFO):
        table = extract()
    assert table.column("id").to_pylist() == ["pdmx/a", "pdmx/b", "wikimt_x/f"]
    assert [len(rows) for rows in table.column("features").to_pylist()] == [1, 3, 2]
    assert table.schema.field("features").type == pa.list_(pa.list_(pa.float32(), 256))
    assert "features: 3 in, 3 out, 0 rejected" in caplog.text
    assert read_rejected(Path("rejected.parquet")) == []


def test_the_rows_are_the_front_ends(work):
    for name, seconds in (("a", 5), ("c", 17)):
        soundfile.write(f"recordings/{name}.wav", noise(seconds), RATE, subtype="FLOAT")
    rows = extract().column("features").to_pylist()
    for made, seconds in zip(rows, (5, 17), strict=True):
        expected = build_front_end(settings()).features(noise(seconds))
        np.testing.assert_array_equal(np.array(made, np.float32), expected)


def test_the_table_says_where_it_comes_from(work):
    soundfile.write("recordings/a.wav", noise(5), RATE)
    metadata = extract().schema.metadata
    assert metadata[b"front_end"] == b"mel"
    assert metadata[b"feature_size"] == b"256"
    assert metadata[b"renderer"] == b"none"


def test_the_same_recordings_give_the_same_bytes(work):
    soundfile.write("recordings/a.wav", noise(7), RATE)
    extract()
    once = Path("features.parquet").read_bytes()
    extract()
    assert Path("features.parquet").read_bytes() == once


def test_recordings_that_cannot_be_used_are_rejected_with_a_reason(work):
    soundfile.write("recordings/a.wav", noise(0.5), RATE)
    Path("recordings/b.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    Path("recordings/c.wav").touch()
    soundfile.write("recordings/d.wav", noise(5), RATE)
    soundfile.write("recordings/e.wav", noise(5), RATE)
    soundfile.write("recordings/e.flac", noise(5), RATE)
    table = extract()
    assert table.column("id").to_pylist() == ["pdmx/d"]
    rejected = read_rejected(Path("rejected.parquet"))
    assert {row.stage for row in rejected} == {"features"}
    assert {row.id: row.kind for row in rejected} == {
        "pdmx/a": "too_short",
        "pdmx/b": "unsupported_audio",
        "pdmx/c": "empty_file",
        "pdmx/e": "ambiguous_recording",
    }
    with pytest.raises(DataError, match=r"80\.0% rejected"):
        extract(max_rejected_share=0.5)


def test_no_recordings_are_an_empty_table(work, caplog):
    table = extract()
    assert table.num_rows == 0
    assert table.schema.field("features").type == pa.list_(pa.list_(pa.float32(), 256))
    soundfile.write("recordings/misnamed.wav", noise(5), RATE)
    assert extract().num_rows == 0
    assert "none of 1 sound files" in caplog.text


def test_rendered_recordings_must_be_complete_and_have_full_ids(work):
    folder = Path("recordings/pdmx")
    folder.mkdir()
    (folder / "a.ogg").write_bytes(encode_ogg(noise(5), RATE))
    with pytest.raises(DataError, match="not a description"):
        extract(source="render", folder=None)
    description = {"renderer": "clamp3 synthesiser", "recordings": 1}
    write_json(Path("recordings/renderer.json"), description)
    table = extract(source="render", folder=None)
    assert table.column("id").to_pylist() == ["pdmx/a"]
    assert table.schema.metadata[b"renderer"] == b"clamp3 synthesiser"


def test_mert_needs_its_folder(work):
    with pytest.raises(ConfigError, match="mert_folder"):
        build_front_end(settings(front_end="mert"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        build_front_end(settings(front_end="mert", mert_folder=str(work)))


@pytest.fixture
def mert(work):
    import torch
    from transformers import HubertConfig, HubertModel

    config = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    }
    write_json(work / "mert/config.json", config)
    torch.manual_seed(0)
    weights = HubertModel(HubertConfig.from_dict(config)).state_dict()
    torch.save(weights, work / "mert/pytorch_model.bin")
    return {"front_end": "mert", "mert_folder": "mert"}


def test_mert_features(mert):
    soundfile.write("recordings/a.wav", noise(6), RATE)
    table = extract(**mert)
    assert np.array(table.column("features").to_pylist()[0]).shape == (2, 16)
    assert table.schema.metadata[b"front_end"] == b"mert"
    assert table.schema.metadata[b"feature_size"] == b"16"


def test_many_recordings_through_mert_are_each_ones_own(mert):
    lengths = {"a": 3.3, "b": 0.5, "c": 2, "d": 1.3, "e": 5}
    for name, seconds in lengths.items():
        soundfile.write(f"recordings/{name}.wav", noise(seconds), RATE, subtype="FLOAT")
    mert |= {"window_seconds": 1.0}
    table = extract(**mert)
    assert table.column("id").to_pylist() == ["pdmx/a", "pdmx/c", "pdmx/d", "pdmx/e"]
    assert [row.id for row in read_rejected(Path("rejected.parquet"))] == ["pdmx/b"]
    front_end = build_front_end(settings(**mert), "cpu")
    for name, rows in zip("acde", table.column("features").to_pylist(), strict=True):
        expected = front_end.features(noise(lengths[name]))
        np.testing.assert_allclose(np.array(rows, np.float32), expected, atol=2e-6)
