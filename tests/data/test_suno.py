"""suno.jsonl to captioned recordings: texts, files, rejects."""

import pytest
from samples import json_lines, put

from clamp3.data.suno import parse_suno
from clamp3.errors import ConfigError, DataError


def song(number, **changes):
    metadata = {"tags": "dark metal, fast", "prompt": "[Verse]\nNight falls", "duration": 120.4}
    metadata |= {"gpt_description_prompt": "a song about night"} | changes.pop("metadata", {})
    line = {"id": f"song-{number}", "title": f" Song  {number} ", "metadata": metadata}
    return line | {"video_url": "", "audio_url": "https://cdn1.suno.ai/song.mp3"} | changes


@pytest.fixture
def write(tmp_path):
    def write(lines, files=None):
        for name in files if files is not None else [f"song-{n}.mp3" for n in range(9)]:
            put(tmp_path / "audio", name, "sound")
        return put(tmp_path, "suno.jsonl", json_lines(lines)), tmp_path / "audio"

    return write


def test_tags_are_the_caption(write):
    path, folder = write([song(0), song(1, metadata={"tags": "rap\n hard"})])
    parsed = parse_suno(path, folder)
    assert parsed.columns == {
        "id": ["suno/song-0", "suno/song-1"],
        "audio_path": [f"{folder}/song-{number}.mp3" for number in range(2)],
        "title": ["Song 0", "Song 1"],
        "caption": ["dark metal, fast", "rap hard"],
    }
    assert (parsed.rejected, parsed.rows_in, parsed.left_out) == ([], 2, 0)


def test_more_fields_make_longer_captions(write):
    path, folder = write([song(0), song(1, metadata={"tags": " "})])
    parsed = parse_suno(path, folder, fields=("tags", "prompt"), collection="mine")
    captions = ["dark metal, fast. [Verse] Night falls", "[Verse] Night falls"]
    assert parsed.columns["caption"] == captions
    assert parsed.columns["id"][0] == "mine/song-0"
    with pytest.raises(ConfigError, match="fields lyrics: expected some of tags, prompt"):
        parse_suno(path, folder, fields=("lyrics",))


def test_recordings_are_found_in_any_folder_and_songs_without_are_left_out(write):
    files = ["rock/song-0.mp3", "song-1.WAV", "song-2.txt", ".song-3.mp3"]
    path, folder = write([song(n) for n in range(5)], files)
    parsed = parse_suno(path, folder)
    assert parsed.columns["audio_path"] == [f"{folder}/{name}" for name in files[:2]]
    assert (parsed.left_out, parsed.rows_in) == (3, 5)


def test_rows_that_cannot_be_used_are_told_with_their_line(write):
    rows = [
        (song(0), None),
        ("", None),
        ("no json", "bad_row"),
        ("[1]", "bad_row"),
        (song(0), "duplicate_id"),
        (song(1, metadata={"tags": None}), "no_text"),
        (song(2, metadata={"tags": 7}), "bad_value"),
        (song(3) | {"metadata": None}, "bad_value"),
        (song(4, id=None), "bad_value"),
        (song(5, id="../up"), "bad_value"),
        (song(6), "ambiguous_recording"),
    ]
    files = [f"song-{n}.mp3" for n in range(6)] + ["a/song-6.mp3", "b/song-6.mp3"]
    parsed = parse_suno(*write([line for line, _ in rows], files))
    assert parsed.columns["id"] == ["suno/song-0"]
    found = {row.reason.split(":")[0]: row.kind for row in parsed.rejected}
    assert found == {f"line {n}": kind for n, (_, kind) in enumerate(rows, start=1) if kind}
    assert parsed.rows_in == 1 + len(parsed.rejected)


def test_another_file_is_told(write, tmp_path):
    path, folder = write([{"location": "a.mid", "caption": "x"}])
    with pytest.raises(DataError, match=r"no line is an object with id and metadata.*MidiCaps"):
        parse_suno(path, folder)
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    with pytest.raises(DataError, match="zstd file: unpack it first"):
        parse_suno(path, folder)
    with pytest.raises(DataError, match="no such folder"):
        parse_suno(write([song(0)])[0], tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such file; expected the suno data set"):
        parse_suno(tmp_path / "nothing.jsonl", folder)
