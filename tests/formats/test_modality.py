"""What a file holds, by its first bytes, its name and its text."""

import io
import zipfile

import numpy as np
import pytest
import soundfile
from refusals import refused

from clamp3.formats.modality import (
    FORMAT_BY_SUFFIX,
    FileFormat,
    Modality,
    detect_format,
    detect_modality,
)

XML = (
    '<?xml version="1.0"?>\n<!-- made by hand -->\n<score-partwise version="4.0"></score-partwise>'
)
ABC = "X:1\nT:Tune\nM:4/4\nK:C\nCDEF|\n"


def zipped(*names, content="x"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


def sound(kind):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(2400, "float32"), 24000, format=kind)
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((2, 3), "float32"))
    return buffer.getvalue()


CONTENTS = {
    "score.mxl": (zipped("META-INF/container.xml", "score.xml"), FileFormat.MUSICXML),
    "score.musicxml": (XML.encode(), FileFormat.MUSICXML),
    "score.xml": (XML.replace("partwise", "timewise").encode("utf-16"), FileFormat.MUSICXML),
    "tune.abc": (ABC.encode(), FileFormat.ABC),
    "rows.abc": (b"L:1/8\nM:4/4\nK:C\nV:1 treble \n[V:1]CDEF|\n", FileFormat.ABC),
    "song.mid": (b"MThd\x00\x00\x00\x06\x00\x01\x00\x00\x01\xe0", FileFormat.MIDI),
    "song.midi": (b"RIFF\x10\x00\x00\x00RMIDdata", FileFormat.MIDI),
    "song.mtf": (b"ticks_per_beat 480\nend_of_track 0", FileFormat.MTF),
    "words.txt": ("Ein fröhliches Stück: K sei C.\n".encode(), FileFormat.TEXT),
    "frames.npy": (npy(), FileFormat.NUMPY),
    "sound.wav": (sound("WAV"), FileFormat.AUDIO),
    "sound.flac": (sound("FLAC"), FileFormat.AUDIO),
    "sound.mp3": (sound("MP3"), FileFormat.AUDIO),
    "sound.ogg": (sound("OGG"), FileFormat.AUDIO),
    "cover.png": (b"\x89PNG\r\n\x1a\n", FileFormat.IMAGE),
    "cover.jpg": (b"\xff\xd8\xff\xe0", FileFormat.IMAGE),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_tells_without_a_name(name, tmp_path):
    data, expected = CONTENTS[name]
    assert detect_format(data) is expected
    assert detect_format(data, "upload") is expected
    path = tmp_path / "no_suffix"
    path.write_bytes(data)
    assert detect_format(path) is expected


@pytest.mark.parametrize("name", CONTENTS)
def test_name_tells_in_any_case(name):
    expected = CONTENTS[name][1]
    for spelling in (name, name.upper(), name.title(), f"a.b/{name}"):
        assert detect_format(b"", spelling) is expected
        assert detect_format(b"\x00\x01", spelling) is expected


def test_every_suffix_is_lower_case_and_every_format_has_one():
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in FORMAT_BY_SUFFIX)
    assert set(FORMAT_BY_SUFFIX.values()) == set(FileFormat)


def test_unmistakable_bytes_beat_the_name():
    midi, recording = CONTENTS["song.mid"][0], CONTENTS["sound.wav"][0]
    assert detect_modality(midi, "song.xml") is Modality.PERFORMANCE
    assert detect_modality(recording, "song.mid") is Modality.RECORDING


def test_the_name_of_a_text_decides():
    assert detect_modality(ABC.encode(), "words.txt") is Modality.TEXT
    assert detect_modality(b"just words", "tune.ABC") is Modality.SCORE


@pytest.mark.parametrize(
    "text",
    [
        "A reel in K: major, X marks the spot\n",
        "<p>score-partwise is a word</p>",
        "ID3 tags hold the title",
        "MThd is how MIDI starts",
        "OggS, RF64 and fLaC are signatures",
        "日本語の歌",
    ],
)
def test_words_are_text(text):
    assert detect_modality(text.encode()) is Modality.TEXT


def test_text_cut_inside_a_character_is_text():
    assert detect_format(("x" + "é" * 40_000).encode()) is FileFormat.TEXT


def test_modalities():
    found = {file_format.value: file_format.modality.value for file_format in FileFormat}
    assert found == {
        "text": "text",
        "musicxml": "score",
        "abc": "score",
        "midi": "performance",
        "mtf": "performance",
        "audio": "recording",
        "numpy": "features",
        "image": "image",
    }


def test_headers_of_mpeg_frames():
    """MPEG 1 layer III, 128 kbit/s, 44.1 kHz, without a tag before it."""
    assert detect_format(b"\xff\xfb\x90\x00" + bytes(413)) is FileFormat.AUDIO


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty_file"),
        (b"\x00\x01\x02", "unknown_format"),
        (zipped("mimetype", "word/document.xml"), "unknown_format"),
        # An electronic book.
        (
            zipped("mimetype", "META-INF/container.xml", content="application/epub+zip"),
            "unknown_format",
        ),
        (b"PK\x03\x04broken", "unknown_format"),
        (b"\xe9t\xe9 latin", "unknown_format"),
    ],
)
def test_refusals(data, kind):
    with refused(kind):
        detect_format(data)


def test_a_missing_file_is_named(tmp_path):
    with refused("unreadable_file", r"gone\.mid"):
        detect_format(tmp_path / "gone.mid")
