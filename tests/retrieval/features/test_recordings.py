"""Recordings rendered from a catalogue's MIDI files, and sound files found by name."""

import json
import logging
import zipfile
from pathlib import Path

import mido
import numpy as np
import pyarrow as pa
import pytest
from audio_settings import AUDIO

from clamp3.config import AudioConfig
from clamp3.data.rejected import read_rejected
from clamp3.errors import DataError
from clamp3.files import read_table, write_table
from clamp3.formats.audio import read_audio
from clamp3.retrieval.features.recordings import RecordingFolder, read_renderer, render_recordings

SETTINGS = AUDIO | {"source": "render", "folder": None, "max_rejected_share": 0.5}


def settings(**changes):
    return AudioConfig(**SETTINGS | changes)


def write_midi(path, pitch=69):
    file = mido.MidiFile()
    file.tracks.append(mido.MidiTrack())
    file.tracks[0].append(mido.Message("note_on", note=pitch))
    file.tracks[0].append(mido.Message("note_off", note=pitch, time=1920))
    file.save(path)
    return str(path)


@pytest.fixture
def catalog(tmp_path):
    """A part of four good pieces, one without MIDI, one damaged, and one to evaluate on."""
    rows = [(f"pdmx/Qm{n}", "pdmx", write_midi(tmp_path / f"{n}.mid", 60 + n)) for n in range(4)]
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    rows += [("pdmx/QmBad", "pdmx", str(tmp_path / "bad.mid")), ("pdmx/QmNone", "pdmx", None)]
    rows += [("midicaps/a", "midicaps", write_midi(tmp_path / "a.mid"))]
    names = ("id", "collection", "mid_path")
    path = tmp_path / "catalog" / "part-00000-of-00001.parquet"
    write_table(path, pa.table(dict(zip(names, zip(*sorted(rows), strict=True), strict=True))))
    return path


def test_midi_files_in_an_archive_sound_the_same(catalog, tmp_path):
    render_recordings(catalog, tmp_path / "one", settings())
    (tmp_path / "midi").mkdir()
    with zipfile.ZipFile(tmp_path / "midi.zip", "w") as archive:
        for path in sorted(tmp_path.glob("*.mid")):
            archive.write(path, path.name)
            path.unlink()
    table = read_table(catalog).to_pydict()
    table["mid_path"] = [
        path and path.replace(str(tmp_path), f"{tmp_path}/midi.zip") for path in table["mid_path"]
    ]
    write_table(catalog, pa.table(table))
    render_recordings(catalog, tmp_path / "two", settings())
    sounds = content(tmp_path / "one")
    assert len(sounds) == 6
    assert content(tmp_path / "two") == sounds


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_every_chosen_piece_is_a_file_or_rejected(catalog, tmp_path, caplog):
    out = tmp_path / "recordings" / "part-00000-of-00001"
    with caplog.at_level(logging.INFO):
        render_recordings(catalog, out, settings())
    assert sorted(content(out)) == [
        *(f"pdmx/Qm{n}.ogg" for n in range(4)),
        "rejected.parquet",
        "renderer.json",
    ]
    (row,) = read_rejected(out / "rejected.parquet")
    assert (row.id, row.stage, row.kind) == ("pdmx/QmBad", "recordings", "bad_midi")
    assert "recordings: 5 in, 4 out, 1 rejected" in caplog.text
    assert "recordings: played by clamp3 synthesiser" in caplog.text
    assert json.loads((out / "renderer.json").read_text())["renderer"] == read_renderer(out)


def test_the_sound_is_the_piece(catalog, tmp_path):
    render_recordings(catalog, tmp_path / "out", settings())
    for number in range(4):
        made = read_audio(tmp_path / f"out/pdmx/Qm{number}.ogg")
        assert 2 * 24_000 < len(made) < 3 * 24_000
        spectrum = np.abs(np.fft.rfft(made, 2**17))
        loudest = np.argmax(spectrum) * 24_000 / 2**17
        assert loudest == pytest.approx(440 * 2 ** ((60 + number - 69) / 12), rel=2e-3)


def test_the_same_catalogue_gives_the_same_bytes(catalog, tmp_path):
    for name in ("one", "two", "two"):
        render_recordings(catalog, tmp_path / name, settings())
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_share_grows_piece_by_piece(catalog, tmp_path):
    chosen = []
    for share in (0.0, 0.3, 0.6, 1.0):
        render_recordings(catalog, tmp_path / "out", settings(render_share=share))
        chosen.append({name for name in content(tmp_path / "out") if name.endswith(".ogg")})
    assert [len(names) for names in chosen] == sorted(len(names) for names in chosen)
    assert chosen[0] == set()
    assert chosen[0] <= chosen[1] <= chosen[2] <= chosen[3]
    assert len(chosen[3]) == 4


def test_too_many_rejects_fail_after_writing(catalog, tmp_path):
    with pytest.raises(DataError, match="bad_midi: 1"):
        render_recordings(catalog, tmp_path / "out", settings(max_rejected_share=0.1))
    assert len(read_rejected(tmp_path / "out/rejected.parquet")) == 1


def test_another_renderer_is_written_down(catalog, tmp_path):
    class Beep:
        name = "beep 1.0"

        def render(self, midi, seconds, sample_rate_hz):
            return np.sin(np.arange(sample_rate_hz), dtype=np.float32)

    render_recordings(catalog, tmp_path / "out", settings(), renderer=Beep())
    assert read_renderer(tmp_path / "out") == "beep 1.0"


def test_a_folder_that_is_not_complete(catalog, tmp_path):
    out = tmp_path / "out"
    render_recordings(catalog, out, settings())
    (out / "pdmx/Qm1.ogg").unlink()
    with pytest.raises(DataError, match=r"holds 3 recordings, renderer\.json says 4"):
        read_renderer(out)
    (out / "renderer.json").unlink()
    with pytest.raises(DataError, match="not a description"):
        read_renderer(out)


def test_files_are_found_by_id_and_by_name(tmp_path):
    names = ["pdmx/a.wav", "deep/er/b.MP3", "c.flac", "c.ogg", "d.txt", "._e.wav", "f.v2.m4a"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder = RecordingFolder(tmp_path)

    def found(piece_id):
        return [Path(path).relative_to(tmp_path).as_posix() for path in folder.find(piece_id)]

    assert found("pdmx/a") == ["pdmx/a.wav"]
    assert found("pdmx/b") == ["deep/er/b.MP3"]
    assert found("wikimt_x/c") == ["c.flac", "c.ogg"]
    assert found("pdmx/f.v2") == ["f.v2.m4a"]
    assert found("pdmx/d") == found("pdmx/e") == found("pdmx/f") == []
    assert len(folder) == 5
    assert RecordingFolder(tmp_path, by_name=False).find("pdmx/b") == []
    with pytest.raises(DataError, match="no such folder"):
        RecordingFolder(tmp_path / "none")
