"""MidiCaps: the published test set, each file once, with its caption."""

from functools import partial

import pytest
from samples import fault, put, reading

from clamp3.data.midicaps import parse_midicaps
from clamp3.errors import DataError

MD5 = "1b9f5f325c2080d345d877f590aa3dbe"
LINE = {
    "location": f"lmd_full/1/{MD5}.mid",
    "caption": "A cheerful pop song.",
    "genre": ["pop", "christmas"],
    "genre_prob": [0.5, 0.2],
    "mood": ["happy", "film"],
    "mood_prob": [0.3, 0.1],
    "key": "Eb minor",
    "time_signature": "4/4",
    "tempo": 123,
    "tempo_word": "Allegro",
    "duration": 200,
    "duration_word": "Song",
    "chord_summary": ["Bbm7", "F#"],
    "chord_summary_occurence": 3,
    "instrument_summary": ["Piano", "Acoustic Guitar", "Drums"],
    "instrument_numbers_sorted": [0, 24, 128],
    "all_chords": ["Bbm7"],
    "all_chords_timestamps": [0.4],
    "test_set": True,
}


def named(name, **changes):
    return LINE | {"location": f"lmd_full/{name[0]}/{name}.mid"} | changes


@pytest.fixture
def parse(tmp_path):
    return reading(partial(parse_midicaps, folder="data/midicaps"), tmp_path / "train.json")


def test_a_line(parse):
    (piece,) = parse(LINE).pieces()
    assert piece == {
        "id": f"midicaps/{MD5}",
        "mid_path": f"data/midicaps/lmd_full/1/{MD5}.mid",
        "genres": ["pop", "christmas"],
        "tags": ["happy", "film"],
        "instruments": ["Acoustic Grand Piano", "Acoustic Guitar (nylon)", "Drums"],
        "programs": [0, 24, 128],
        "analysis": (
            "Music in E flat minor. The time signature is 4/4. Played by piano, acoustic guitar "
            "and drums. The tempo is 123 beats per minute (Allegro)."
        ),
        "description": "A cheerful pop song.",
        "text": (
            "A cheerful pop song. Genre: pop, christmas. Mood: happy, film. Key: Eb minor. Time "
            "signature: 4/4. Tempo: 123 BPM (Allegro). Duration: 200s (Song). Main chord "
            "progression: Bbm7 - F#. Instruments: Piano, Acoustic Guitar, Drums."
        ),
    }


def test_what_is_not_known_is_not_told(parse):
    bare = {"location": LINE["location"], "caption": "x", "test_set": True, "tempo": None}
    columns = parse(bare | {"chord_summary": None, "key": None}).columns
    assert columns["analysis"] == [None]
    assert columns["text"] == ["x"]


@pytest.mark.parametrize("tempo", [0, -1, None, "fast", float("nan"), float("inf")])
def test_a_tempo_that_is_none_leaves_its_word(parse, tempo):
    assert parse(LINE | {"tempo": tempo}).columns["analysis"][0].endswith("tempo is Allegro.")


def test_only_the_test_set_counts(parse):
    parsed = parse(LINE, named("a", test_set=False), named("b", test_set=None), named("c"))
    assert parsed.columns["id"] == [f"midicaps/{MD5}", "midicaps/c"]
    assert (parsed.rejected, parsed.rows_in, parsed.left_out) == ([], 4, 2)


@pytest.mark.parametrize("change", [{"test_set": False}, {"test_set": None}])
def test_a_file_without_a_test_set_is_an_error(parse, change):
    with pytest.raises(DataError, match="no line has test_set: true"):
        parse(LINE | change, "broken")


def test_the_same_file_in_two_folders_is_one_piece(parse):
    parsed = parse(LINE, LINE | {"location": f"lmd_matched/A/{MD5}.mid"}, LINE)
    assert parsed.columns["id"] == [f"midicaps/{MD5}"]
    assert [row.kind for row in parsed.rejected] == ["duplicate_id"] * 2
    assert [row.reason[:7] for row in parsed.rejected] == ["line 2:", "line 3:"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (named("b", location="/lmd_full/b.mid"), "bad_value"),
        (named("b", location="../b.mid"), "bad_value"),
        (named("b", location=None), "bad_value"),
        (named("b", genre=5), "bad_value"),
        (named("b", instrument_numbers_sorted=[200]), "bad_value"),
        (named("b", instrument_numbers_sorted="0"), "bad_value"),
        (named("b", instrument_numbers_sorted=7), "bad_value"),
        ({"location": "lmd_full/b.mid", "caption": "", "test_set": True}, "no_text"),
        ('{"location":', "bad_row"),
    ],
)
def test_faults_cost_their_line(parse, line, kind):
    parsed = parse(LINE, line)
    assert parsed.columns["id"] == [f"midicaps/{MD5}"]
    assert fault(parsed)[:2] == (kind, "line 2")


def test_files_are_looked_for_when_asked(parse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "data/midicaps", LINE["location"], "MThd")
    parsed = parse(LINE, named("b"), check_files=True)
    assert parsed.columns["id"] == [f"midicaps/{MD5}"]
    assert parsed.columns["mid_bytes"] == [4]
    assert [(row.id, row.kind) for row in parsed.rejected] == [("midicaps/b", "missing_files")]
    assert parsed.rows_in == 2
