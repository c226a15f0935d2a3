"""Recordings to codes and states: tables, rejects, chunks, and what of a file is read."""

import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from models.tiny_clap import CODEC, DECODER, sounds, tiny_musicgen
from training.clap_corpus import chord, settings

from clamp3.config import RecordingChunks
from clamp3.data.listing import listed_parts
from clamp3.data.rejected import read_rejected
from clamp3.data.store import Store
from clamp3.errors import DataError, FormatError
from clamp3.files import write_json, write_table
from clamp3.formats.audio import read_audio
from clamp3.models.clap_musicgen.pretrained import load_codec, load_decoder
from clamp3.retrieval.features import codes as coding
from clamp3.retrieval.features.chunks import cut_chunks, read_chunks
from clamp3.retrieval.features.codes import (
    decoder_states,
    extract_codes,
    pool_codes,
    read_codes,
    recording_codes,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("clap")
    tiny_musicgen(made / "musicgen")
    return made


@pytest.fixture(scope="module")
def codec(folder):
    return load_codec(folder / "musicgen")


def plan(**changes):
    values = {"start_seconds": 0.1, "chunk_seconds": 0.4, "chunks": 2, "min_seconds": 0.2}
    return RecordingChunks(**values | changes)


def lengths(seconds, **changes):
    return [len(c) for c in cut_chunks(np.ones(round(seconds * 1000)), plan(**changes), 1000)]


def test_chunks_follow_each_other_and_a_short_one_is_left_out():
    assert lengths(2.0) == [400, 400]
    assert lengths(2.0, chunks=9) == [400, 400, 400, 400, 300]
    assert lengths(0.69, chunks=9) == [400]
    assert lengths(0.3) == [200]
    assert lengths(0.5, min_seconds=3.0) == [400]
    wave = np.arange(1000.0)
    first, second = cut_chunks(wave, plan(), 1000)
    assert first[0] == 100
    assert second[0] == 500


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 0.299])
def test_a_recording_that_is_too_short_is_told(seconds):
    with pytest.raises(FormatError, match=r"at least 0\.2 s from second 0\.1 on") as caught:
        lengths(seconds)
    assert caught.value.kind == "too_short"


def test_no_more_of_a_file_is_decoded_than_is_read(tmp_path, monkeypatch):
    wave = np.concatenate([chord(300, 0, 3.0), np.full(48_000, np.nan, np.float32)])
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")
    monkeypatch.setattr("clamp3.formats.audio.decoding.BLOCK_VALUES", 4000)
    chunks = read_chunks(tmp_path / "a.wav", plan(), 32_000)
    whole = read_audio(_written(tmp_path / "b.wav", wave[:48_000]), 32_000)
    assert [len(chunk) for chunk in chunks] == [12_800, 12_800]
    assert np.allclose(np.concatenate(chunks), whole[3200:28_800], atol=1e-6)
    with pytest.raises(FormatError):
        read_chunks(tmp_path / "a.wav", plan(chunks=99), 32_000)


def _written(path, wave, rate=16_000):
    soundfile.write(path, wave, rate, subtype="FLOAT")
    return path


def _part(tmp_path, waves, name="part.parquet"):
    """A part of the catalogue that names a sound file for each number."""
    rows = []
    for number, wave in waves.items():
        path = _written(tmp_path / f"{number}.wav", wave)
        rows.append({"id": f"x/{number}", "audio_path": str(path)})
    write_table(tmp_path / name, pa.Table.from_pylist(rows))
    return tmp_path / name


def _extract(folder, part, codes, recordings=None, **changes):
    rejected = codes.with_name(f"rejected-{codes.name}")
    extract_codes(part, recordings, codes, rejected, settings(folder, **changes), device="cpu")
    return read_rejected(rejected)


def _pool(folder, codes, states):
    chosen = settings(folder)
    pool_codes(codes, states, chosen.musicgen, chosen.reading, device="cpu")


@pytest.mark.parametrize("rate", [8_000, 32_000, 44_100])
def test_any_rate_and_any_channels_become_four_codes(codec, tmp_path, rate):
    mono = chord(440, 1, 1.0, rate)
    one = recording_codes(codec, _written(tmp_path / "m.wav", mono, rate), plan())
    two = np.stack([mono, mono], axis=1)
    both = recording_codes(codec, _written(tmp_path / "s.wav", two, rate), plan())
    assert [codes.shape for codes in one] == [(4, 20), (4, 20)]
    assert all(codes.dtype == np.int16 for codes in one)
    assert all(np.array_equal(a, b) for a, b in zip(one, both, strict=True))
    content = (tmp_path / "s.wav").read_bytes()
    assert np.array_equal(recording_codes(codec, content, plan())[1], both[1])


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "empty_file"),
    "text": (lambda path: path.write_text("no sound"), "unsupported_audio"),
    "silent": (lambda path: _written(path, np.empty(0, np.float32)), "no_samples"),
    "nan": (lambda path: _written(path, np.full(16_000, np.nan)), "not_finite"),
    "short": (lambda path: _written(path, np.zeros(16)), "too_short"),
    "missing": (lambda path: None, "missing_file"),
}


def test_each_bad_file_is_one_reject_and_costs_no_other(folder, tmp_path):
    rows = []
    for name, (write, _) in BAD.items():
        write(tmp_path / f"{name}.wav")
        rows.append({"id": f"x/{name}", "audio_path": str(tmp_path / f"{name}.wav")})
    for name in ("good", "other", "third"):
        _written(tmp_path / f"{name}.wav", chord(300, len(name)))
        rows.insert(1, {"id": f"x/{name}", "audio_path": str(tmp_path / f"{name}.wav")})
    rows.append({"id": "x/none", "audio_path": None})
    part, codes = tmp_path / "part.parquet", tmp_path / "codes.parquet"
    write_table(part, pa.Table.from_pylist(rows))
    rejected = _extract(folder, part, codes, max_rejected_share=0.7)
    assert {row.id: row.kind for row in rejected} == {f"x/{n}": k for n, (_, k) in BAD.items()}
    codec = load_codec(folder / "musicgen")
    for piece_id, chunks in read_codes(codes):
        path = tmp_path / f"{piece_id.removeprefix('x/')}.wav"
        alone = recording_codes(codec, path, settings(folder).recordings)
        assert all(np.array_equal(a, b) for a, b in zip(chunks, alone, strict=True))
    with pytest.raises(DataError, match="codes: 9 in, 3 out, 6 rejected"):
        _extract(folder, part, codes)


def test_the_table_says_what_it_is_and_is_the_same_again(folder, tmp_path):
    (tmp_path / "pdmx").mkdir()
    for number, seconds in enumerate((1.0, 0.55, 0.4)):
        _written(tmp_path / f"pdmx/{number}.wav", chord(300, number, seconds))
    part = tmp_path / "part.parquet"
    write_table(part, pa.table({"id": [f"pdmx/{name}" for name in (0, 1, 2, "none")]}))
    places = [tmp_path / name for name in ("codes.parquet", "again.parquet")]
    for place in places:
        _extract(folder, part, place, tmp_path)
    assert places[0].read_bytes() == places[1].read_bytes()
    found = dict(read_codes(places[0]))
    assert {i: [c.shape for c in chunks] for i, chunks in found.items()} == {
        "pdmx/0": [(4, 20), (4, 20)],
        "pdmx/1": [(4, 20)],
        "pdmx/2": [(4, 15)],
    }
    schema = pq.read_schema(places[0])
    assert schema.field("codes").type == pa.list_(pa.list_(pa.int16(), 4))
    assert schema.metadata[b"codebooks"] == b"4"
    assert json.loads(schema.metadata[b"chunks"])["chunk_seconds"] == 0.4


def test_states_are_those_of_each_chunk_alone_and_a_store_reads_them(folder, tmp_path):
    codec = load_codec(folder / "musicgen")
    tower = load_decoder(folder / "musicgen", settings(folder).reading)
    part = _part(tmp_path, {n: chord(500, n, seconds) for n, seconds in enumerate((1.0, 0.55))})
    coded, states = tmp_path / "codes.parquet", tmp_path / "part-0.parquet"
    _extract(folder, part, coded)
    _pool(folder, coded, states)
    store = Store([states])
    for number, count in enumerate((2, 1)):
        found = store.get(f"x/{number}")
        assert found.shape == (count, 64)
        path = tmp_path / f"{number}.wav"
        for own, chunk in zip(found, recording_codes(codec, path, plan()), strict=True):
            assert np.allclose(own, decoder_states(tower, [chunk])[0], atol=2e-6)
    said = pq.read_schema(states).metadata
    assert said[b"feature_size"] == b"64"
    assert {b"codec", b"decoder", b"reading", b"chunks"} <= said.keys()


def test_no_recordings_give_empty_tables(folder, tmp_path):
    table = pa.table({"id": pa.array([], pa.string()), "audio_path": pa.array([], pa.string())})
    write_table(tmp_path / "part.parquet", table)
    codes, states = tmp_path / "codes.parquet", tmp_path / "states.parquet"
    _extract(folder, tmp_path / "part.parquet", codes)
    _pool(folder, codes, states)
    assert pq.read_table(states).num_rows == 0
    assert list(read_codes(codes)) == []


def test_codes_of_another_codec_are_told(folder):
    tower = load_decoder(folder / "musicgen", settings(folder).reading)
    for codes in (np.full((4, 3), 64), np.full((4, 3), -1), np.zeros((2, 3), int)):
        with pytest.raises(DataError, match="the decoder reads 4 codebooks of 64"):
            decoder_states(tower, [codes])
    assert decoder_states(tower, []).shape == (0, DECODER.hidden_size)
    assert CODEC.codebooks == 4
    assert len(sounds(2)) == 2


def test_a_part_without_a_folder_is_told(folder, tmp_path):
    write_table(tmp_path / "part.parquet", pa.table({"id": ["x/1"]}))
    with pytest.raises(DataError, match="no folder of recordings given"):
        _extract(folder, tmp_path / "part.parquet", tmp_path / "c")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_parts_are_pooled_into_a_folder_and_a_killed_run_goes_on(
    folder, tmp_path, monkeypatch, is_damaged
):
    parts = [tmp_path / f"part-0000{number}-of-00002.parquet" for number in (0, 1)]
    for number, part in enumerate(parts):
        _extract(folder, _part(tmp_path, {number: chord(500, number, 0.6)}), part)
    chosen, made = settings(folder), []

    def pool():
        how = {"resume": tmp_path / "resume", "device": "cpu"}
        coding.pool_parts(parts, tmp_path / "states", chosen.musicgen, chosen.reading, **how)

    def dying(path, table):
        made.append(path)
        if len(made) == 2:
            raise KeyboardInterrupt
        write_table(path, table)

    monkeypatch.setattr(coding, "write_table", dying)
    with pytest.raises(KeyboardInterrupt):
        pool()
    assert not (tmp_path / "states").exists()
    if is_damaged:
        (kept,) = (tmp_path / "resume").glob("*.parquet")
        kept.write_bytes(b"")
    pool()  # the second part alone
    assert len(made) == (4 if is_damaged else 3)
    tables, rejected = listed_parts(tmp_path / "states/parts.tsv")
    assert (tables, rejected) == ([tmp_path / "states" / part.name for part in parts], [])
    assert sorted(Store(tables).get("x/1").shape) == [1, 64]
    _pool(folder, parts[0], tmp_path / "alone")
    assert tables[0].read_bytes() == (tmp_path / "alone").read_bytes()
    assert not (tmp_path / "resume").exists()


@pytest.mark.parametrize("damaged", [None, "codes.parquet", "rejected.parquet"])
def test_codes_of_all_parts_go_on_where_they_were_killed(folder, tmp_path, monkeypatch, damaged):
    chosen = settings(folder, max_rejected_share=0.5)
    parts = {}
    for number in range(2):
        part = tmp_path / f"part-0000{number}-of-00002.parquet"
        place = tmp_path / f"sounds-{number}"
        place.mkdir()
        _written(place / f"{number}.wav", chord(200 + 100 * number, number))
        (place / f"bad-{number}.wav").write_text("no sound")
        names = [f"x/{number}", f"x/bad-{number}", f"x/none-{number}"]
        write_table(part, pa.table({"id": names}))
        parts[part] = place
    made, resume = [], tmp_path / "resume"
    write_codes = coding.write_table

    def dying(path, table):
        made.append(path)
        if len(made) == 2:
            raise KeyboardInterrupt
        write_codes(path, table)

    def code():
        how = {"resume": resume, "by_name": True, "device": "cpu"}
        coding.code_parts(parts, tmp_path / "codes", chosen, **how)

    monkeypatch.setattr(coding, "write_table", dying)
    with pytest.raises(KeyboardInterrupt):
        code()
    assert not (tmp_path / "codes").exists()
    if damaged:
        (finished,) = resume.rglob("codes.parquet")
        kept = finished.with_name(damaged)
        kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    code()
    assert len(made) == (4 if damaged else 3)  # the first part is coded again only if it has to be
    tables, rejected = listed_parts(tmp_path / "codes/parts.tsv")
    assert [row.id for row in read_rejected(rejected)] == ["x/bad-0", "x/bad-1"]
    for part, table in zip(parts, tables, strict=True):
        alone = (tmp_path / "alone.parquet", tmp_path / "alone-rejected.parquet")
        extract_codes(part, parts[part], *alone, chosen, by_name=True, device="cpu")
        assert table.read_bytes() == alone[0].read_bytes()
    assert not resume.exists()


@pytest.mark.parametrize("place", ["sound.wav", "sounds.zip/sound.wav"])
def test_a_recording_that_changed_while_nothing_ran_is_coded_again(
    folder, tmp_path, monkeypatch, place
):
    chosen = settings(folder)
    part = tmp_path / "part-00000-of-00001.parquet"
    sound, gone = tmp_path / "sound.wav", tmp_path / "resume"
    write_table(part, pa.table({"id": ["x/1"], "audio_path": [str(tmp_path / place)]}))
    monkeypatch.setattr(coding.shutil, "rmtree", lambda *_, **__: None)  # keep what is finished
    codes = []
    for pitch in (200, 450):
        _written(sound, chord(pitch, pitch))
        with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
            archive.write(sound, "sound.wav")
        coding.code_parts({part: None}, tmp_path / "codes", chosen, resume=gone, device="cpu")
        codes.append(dict(read_codes(tmp_path / f"codes/{part.name}"))["x/1"][0])
    assert not np.array_equal(*codes)


def test_rendered_recordings_of_which_some_are_gone_are_refused(folder, tmp_path):
    part, sounds = _part(tmp_path, {1: chord(500, 1, 0.6)}), tmp_path / "sounds"
    sounds.mkdir()
    write_json(sounds / "renderer.json", {"renderer": "pure", "recordings": 2})
    with pytest.raises(DataError, match=r"holds 0 recordings, renderer\.json says 2"):
        _extract(folder, part, tmp_path / "c", sounds)
