"""suno.jsonl to captioned recordings: texts, files, rejects."""

import json

import pytest

from clamp3.data.suno import parse_suno
from clamp3.errors import ConfigError, DataError


def song(number, **changes):
    metadata = {
        "tags": "dark metal, fast",
        "prompt": "[Verse]\nNight falls",
        "gpt_description_prompt": "a song about night",
        "type": "gen",
        "duration": 120.4,
    }
    metadata |= changes.pop("metadata", {})
    line = {
        "id": f"song-{number}",
        "video_url": "",
        "audio_url": f"https://cdn1.suno.ai/song-{number}.mp3",
        "title": f" Song  {number} ",
        "is_public": True,
        "metadata": metadata,
    }
    return line | changes


@pytest.fixture
def write(tmp_path):
    def write(lines, files=None):
        path = tmp_path / "suno.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        folder = tmp_path / "audio"
        folder.mkdir(exist_ok=True)
        for name in files if files is not None else [f"song-{n}.mp3" for n in range(9)]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"sound")
        return path, folder

    return write


def test_tags_are_the_caption(write):
    path, folder = write([song(0), song(1, metadata={"tags": "rap\n hard"})])
    parsed = parse_suno(path, folder)
    assert parsed.columns == {
        "id": ["suno/song-0", "suno/song-1"],
        "audio_path": [f"{folder}/song-0.mp3", f"{folder}/song-1.mp3"],
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
    path, folder = write(
        [song(n) for n in range(5)], ["rock/song-0.mp3", "song-1.WAV", "song-2.txt", ".song-3.mp3"]
    )
    parsed = parse_suno(path, folder)
    assert parsed.columns["audio_path"] == [f"{folder}/rock/song-0.mp3", f"{folder}/song-1.WAV"]
    assert parsed.left_out == 3
    assert parsed.rows_in == 5


def test_rows_that_cannot_be_used_are_told_with_their_line(write):
    lines = [
        song(0),
        "",
        "no json",
        "[1]",
        song(0),
        song(1, metadata={"tags": None}),
        song(2, metadata={"tags": 7}),
        song(3) | {"metadata": None},
        song(4, id=None),
        song(5, id="../up"),
        song(6),
    ]
    files = [f"song-{n}.mp3" for n in range(6)] + ["a/song-6.mp3", "b/song-6.mp3"]
    path, folder = write(lines, files)
    parsed = parse_suno(path, folder)
    assert parsed.columns["id"] == ["suno/song-0"]
    found = [(row.kind, row.reason.split(":")[0]) for row in parsed.rejected]
    assert found == [
        ("bad_row", "line 3"),
        ("bad_row", "line 4"),
        ("duplicate_id", "line 5"),
        ("no_text", "line 6"),
        ("bad_value", "line 7"),
        ("bad_value", "line 8"),
        ("bad_value", "line 9"),
        ("bad_value", "line 10"),
        ("ambiguous_recording", "line 11"),
    ]
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
