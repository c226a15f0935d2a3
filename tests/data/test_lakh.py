"""Lakh's three trees: each file once, with what is known of it."""

import json

import pytest
from samples import MIDI, fault, lakh_clean, lakh_full, lakh_matched, md5, put

from clamp3.data.lakh import parse_lakh
from clamp3.errors import DataError

TRACK = "TRABC12345678901AB"


def test_lmd_full_has_no_texts(tmp_path):
    columns = parse_lakh(lakh_full(tmp_path).path).columns
    assert columns["id"][1] == f"lakh/{md5(1)}"
    assert columns["mid_path"][1] == str(tmp_path / f"lmd_full/1/{md5(1)}.mid")
    assert {*columns["background"], *columns["text"], *columns["title"]} == {None}


@pytest.mark.parametrize("end", ["", "/"])
def test_lmd_matched_takes_the_likeliest_track_of_each_file(tmp_path, end):
    columns = parse_lakh(f"{lakh_matched(tmp_path).path}{end}").columns
    assert columns["title"] == [f"Jóga {number}" for number in range(5, 10)]
    assert set(columns["artists"]) == {"Björk"}
    assert all("Jóga" in text for text in columns["background"])
    assert columns["text"][0] == "Title: Jóga 5. Artist: Björk"


def test_lmd_matched_without_its_lists(tmp_path):
    path = lakh_matched(tmp_path).path
    (tmp_path / "match_scores.json").unlink()
    (tmp_path / "unique_tracks.txt").unlink()
    parsed = parse_lakh(path)
    assert sorted(parsed.columns["id"]) == [f"lakh/{md5(number)}" for number in range(5)]
    assert parsed.columns["title"] == [None] * 5
    assert parsed.left_out == 5


def test_the_clean_subset_tells_artist_and_title(tmp_path):
    columns = parse_lakh(lakh_clean(tmp_path).path).columns
    titles = ("Symphony No.4", "Symphony No.5", "Yesterday")
    artists = ("AC_DC", "The Beatles")
    assert columns["id"] == [f"lakh/{artist} - {title}" for artist in artists for title in titles]
    assert columns["artists"][2:4] == ["AC DC", "The Beatles"]
    assert columns["mid_path"][5].endswith("clean_midi/The Beatles/Yesterday.mid")
    assert columns["text"][5] == "Title: Yesterday. Artist: The Beatles"


def test_the_folder_above_will_do_if_it_holds_one_tree(tmp_path):
    lakh_full(tmp_path)
    assert len(parse_lakh(tmp_path).columns["id"]) == 10
    lakh_clean(tmp_path)
    with pytest.raises(DataError, match="holds lmd_full and clean_midi; name one of them"):
        parse_lakh(tmp_path)


@pytest.mark.parametrize("name", [f"2/{md5(1)}.mid", "1/short.mid", f"{md5(1)}.mid", "x.kar"])
def test_strangers_in_a_tree_are_rejected(tmp_path, name):
    path = lakh_full(tmp_path).path
    put(path, name, MIDI)
    parsed = parse_lakh(path)
    why = "lies elsewhere than the other files of lmd_full"
    assert fault(parsed) == ("bad_path", name, why)
    assert len(parsed.columns["id"]) == 10


def test_what_is_no_music_is_passed_over(tmp_path):
    path = lakh_full(tmp_path).path
    for name in (".DS_Store", "1/._a.mid", ".hidden/b.mid", "1/notes.txt"):
        put(path, name, "x")
    assert parse_lakh(path).rows_in == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("{", "not JSON .*; expected {track"),
        ("[]", r"should be a valid dictionary, found \[\]; expected {track"),
        (json.dumps({TRACK: 0.5}), f"{TRACK}: .*, found 0.5; expected"),
        (json.dumps({TRACK: {md5(1): "likely"}}), f"{TRACK}, {md5(1)}: .*'likely'; expected"),
    ],
)
def test_a_damaged_list_of_scores_is_an_error(tmp_path, content, message):
    path = lakh_matched(tmp_path).path
    put(tmp_path, "match_scores.json", content)
    with pytest.raises(DataError, match=rf"match_scores\.json: .*{message}"):
        parse_lakh(path)


def test_a_damaged_list_of_tracks_is_an_error(tmp_path):
    path = lakh_matched(tmp_path).path
    put(tmp_path, "unique_tracks.txt", f"{TRACK}<SEP>SO1<SEP>A<SEP>B\n{TRACK},SO1,A,B\n")
    with pytest.raises(DataError, match=r"unique_tracks\.txt, line 2: 1 cells; expected track"):
        parse_lakh(path)
