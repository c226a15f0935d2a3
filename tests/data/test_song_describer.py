"""Song Describer: one piece a track, with all its captions and its sound file."""

from functools import partial

import pytest
from samples import SDD_COLUMNS, csv_lines, fault, put, reading, song_describer

from clamp3.data.song_describer import parse_song_describer

ROW = ["1", "1004034", "Slow, sad", "True", "0", "368880", "118196", "34/1004034.mp3", "202.5"]


def changed(**values):
    columns = SDD_COLUMNS.split(",")
    return [values.get(name, cell) for name, cell in zip(columns, ROW, strict=True)]


@pytest.fixture
def parse(tmp_path):
    put(tmp_path, "audio/34/1004034.2min.mp3", "ID3")
    table = partial(csv_lines, SDD_COLUMNS)
    return reading(parse_song_describer, tmp_path / "song_describer.csv", table)


def test_captions_of_one_track_are_its_lines(tmp_path):
    parsed = parse_song_describer(song_describer(tmp_path).path)
    assert parsed.pieces()[0] == {
        "id": "song_describer/1004030",
        "audio_path": str(tmp_path / "audio/30/1004030.2min.mp3"),
        "description": 'A “0” song, "slow" and sad\nA “5” song, "slow" and sad',
        "text": 'A “0” song, "slow" and sad',
        "subsets": ["valid"],
    }
    assert parsed.columns["subsets"] == [["valid"], ["valid"], [], ["valid"], ["valid"]]


def test_a_caption_that_nobody_validated(parse):
    parsed = parse(changed(is_valid_subset=""), changed(is_valid_subset="False"))
    assert parsed.columns["subsets"] == [[]]
    assert (parsed.rows_in, parsed.left_out, parsed.rejected) == (2, 1, [])


@pytest.mark.parametrize(
    ("row", "kind", "reason"),
    [
        (changed(caption=" "), "no_text", "no caption"),
        (changed(is_valid_subset="maybe"), "bad_value", "is_valid_subset is 'maybe'"),
        (changed(track_id="a/b"), "bad_value", "file name"),
        (changed(track_id=""), "bad_value", "no name"),
        (changed(path="../x.mp3"), "bad_value", "'..'"),
        (changed(track_id="7", path="34/7.mp3"), "missing_files", "no file of 7"),
    ],
)
def test_faults_cost_their_row(parse, row, kind, reason):
    parsed = parse(ROW, row, changed(caption="Fast"))
    assert parsed.columns["description"] == ["Slow, sad\nFast"]
    *found, why = fault(parsed)
    assert found == [kind, "row 3"]
    assert reason in why


def test_of_two_files_the_one_at_its_path_counts(parse, tmp_path):
    put(tmp_path, "copies/1004034.mp3", "ID3")
    assert fault(parse(ROW))[0] == "ambiguous_files"
    put(tmp_path, "full/34/1004034.mp3", "ID3")
    assert parse(ROW).columns["audio_path"] == [str(tmp_path / "full/34/1004034.mp3")]
