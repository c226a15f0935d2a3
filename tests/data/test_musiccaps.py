"""MusicCaps: the clips of the evaluation set that are still to be had."""

import pytest
from samples import MUSICCAPS_COLUMNS, csv_lines, fault, musiccaps, put, reading

from clamp3.data.musiccaps import parse_musiccaps

ROW = {
    "ytid": "-0Gj8-vB1q4",
    "start_s": "30",
    "end_s": "40",
    "audioset_positive_labels": "/m/0140xf,/m/02cjck",
    "aspect_list": "['low quality', \"it's slow\"]",
    "caption": "A slow\nsong, sad.",
    "author_id": "4",
    "is_balanced_subset": "True",
    "is_audioset_eval": "True",
}


@pytest.fixture
def parse(tmp_path):
    put(tmp_path, "wav/-0Gj8-vB1q4.wav", "RIFF")

    def table(rows):
        return csv_lines(MUSICCAPS_COLUMNS, [row.values() for row in rows])

    return reading(parse_musiccaps, tmp_path / "musiccaps-public.csv", table)


def test_a_row(parse, tmp_path):
    (piece,) = parse(ROW).pieces()
    assert piece == {
        "id": "musiccaps/-0Gj8-vB1q4",
        "audio_path": str(tmp_path / "wav/-0Gj8-vB1q4.wav"),
        "tags": ["low quality", "it's slow"],
        "description": "A slow song, sad.",
        "text": "A slow song, sad.",
        "subsets": ["eval", "balanced"],
    }


def test_the_training_set_is_left_out_unless_asked_for(tmp_path):
    path = musiccaps(tmp_path).path
    assert len(parse_musiccaps(path).columns["id"]) == 6
    every = parse_musiccaps(path, eval_only=False)
    assert (len(every.columns["id"]), every.left_out) == (10, 0)
    assert every.columns["subsets"] == [["eval"]] * 6 + [[]] * 4


@pytest.mark.parametrize(
    "name",
    ["-1Gj8-vB1q4.mp3", "[-1Gj8-vB1q4]-[30-40].wav", "T [-1Gj8-vB1q4].opus", "-1Gj8-vB1q4_30.flac"],
)
def test_names_of_sound_files(parse, tmp_path, name):
    put(tmp_path, f"a/b/{name}", "x")
    assert parse(ROW | {"ytid": "-1Gj8-vB1q4"}).columns["audio_path"] == [f"{tmp_path}/a/b/{name}"]


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"ytid": "x1234567890"}, "missing_files", "no file of x1234567890"),
        ({"ytid": ""}, "bad_value", "no name"),
        ({"ytid": ROW["ytid"]}, "duplicate_id", "stands in an earlier"),
        ({"start_s": "x"}, "bad_value", "start_s is 'x'"),
        ({"end_s": "30"}, "bad_value", "end_s is 30, expected more than start_s"),
        ({"aspect_list": "slow"}, "bad_value", "aspect_list is 'slow'"),
        ({"aspect_list": "__import__('os')"}, "bad_value", "aspect_list is"),
        ({"aspect_list": "[1]"}, "bad_value", "found int"),
        ({"is_audioset_eval": "yes"}, "bad_value", "is_audioset_eval is 'yes'"),
        ({"caption": "", "aspect_list": "[]"}, "no_text", "neither caption nor aspects"),
    ],
)
def test_faults_cost_their_row(parse, change, kind, reason):
    parsed = parse(ROW, ROW | {"ytid": "y1234567890"} | change)
    assert parsed.columns["id"] == ["musiccaps/-0Gj8-vB1q4"]
    *found, why = fault(parsed)
    assert found == [kind, "row 3"]
    assert reason in why


def test_two_files_of_one_clip_are_not_guessed_between(parse, tmp_path):
    put(tmp_path, "mp3/-0Gj8-vB1q4.mp3", "ID3")
    assert fault(parse(ROW))[0] == "ambiguous_files"
