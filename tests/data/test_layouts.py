"""What every data set's reader must do: count, reject one line, recognise another data set."""

from itertools import permutations

import pytest
from samples import SAMPLES, put

from clamp3.config import LAYOUTS
from clamp3.data.catalog import SCHEMA
from clamp3.data.layouts import read_layout
from clamp3.errors import DataError

MUSIC = {"abc": ("mxl_path", "leadsheet"), "mtf": ("mid_path",), "audio": ("audio_path",)}
GUESSES = {
    "wikimt": r"wikimusictext\.jsonl",
    "wikimt_x": "WikiMT-X",
    "midicaps": "MidiCaps",
    "song_describer": "Song Describer",
    "musiccaps": "MusicCaps",
}


@pytest.fixture(params=SAMPLES)
def sample(request, tmp_path):
    return SAMPLES[request.param](tmp_path / request.param)


def test_every_layout_has_a_sample():
    assert set(LAYOUTS) == {name if name in LAYOUTS else "lakh" for name in SAMPLES}


def test_counts_add_up(sample):
    parsed = read_layout(sample.layout, sample.path, collection="mine")
    usable = len(parsed.columns["id"])
    assert (parsed.rows_in, parsed.left_out, parsed.rejected) == (sample.rows, sample.left_out, [])
    assert usable == sample.rows - sample.left_out


def test_columns_are_those_of_the_catalogue(sample):
    columns = read_layout(sample.layout, sample.path, collection="mine").columns
    assert set(columns) <= set(SCHEMA.names)
    assert len({len(values) for values in columns.values()}) == 1
    assert all(name.startswith("mine/") for name in columns["id"])
    assert len(set(columns["id"])) == len(columns["id"])
    none = [None] * len(columns["id"])
    music = [columns.get(name, none) for name in MUSIC[LAYOUTS[sample.layout]]]
    assert all(any(values) for values in zip(*music, strict=True))


def test_one_bad_line_costs_itself(sample):
    before = read_layout(sample.layout, sample.path)
    sample.break_it()
    after = read_layout(sample.layout, sample.path)
    assert after.columns == before.columns
    (reject,) = after.rejected
    assert reject.stage == "parse"
    assert reject.id.startswith(f"{sample.layout}/")
    assert after.rows_in == before.rows_in + 1
    place = "row 12" if sample.path.suffix == ".csv" else "line 11"
    assert reject.reason.startswith(f"{sample.bad if sample.path.is_dir() else place}: ")


def test_the_same_data_set_gives_the_same_pieces(sample):
    first, second = (read_layout(sample.layout, sample.path) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(("layout", "given"), list(permutations(GUESSES, 2)))
def test_another_data_set_is_named(tmp_path, layout, given):
    path = SAMPLES[given](tmp_path).path
    with pytest.raises(DataError, match=rf"It looks like .*{GUESSES[given]}"):
        read_layout(layout, path)


@pytest.mark.parametrize("layout", GUESSES)
@pytest.mark.parametrize(
    ("content", "guess"),
    [
        ('{"id": "a", "filepaths": ["a.abc"]}', "a training manifest"),
        ("path,metadata,mxl,is_user_pro", r"PDMX\.csv"),
        ('[{"id": "a"}]', "a JSON array"),
    ],
)
def test_other_files_are_recognised(tmp_path, layout, content, guess):
    told = "no column " if LAYOUTS[layout] == "audio" else "no line is an object with "
    with pytest.raises(DataError, match=f"{told}.*It looks like {guess}"):
        read_layout(layout, put(tmp_path, "list", content))


@pytest.mark.parametrize("layout", GUESSES)
def test_a_file_that_is_not_there_is_named(tmp_path, layout):
    with pytest.raises(
        DataError, match=rf"none\.jsonl: no such file; expected .*{GUESSES[layout]}"
    ):
        read_layout(layout, tmp_path / "nowhere" / "none.jsonl")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - set(GUESSES)))
def test_a_folder_without_music_is_refused(tmp_path, layout):
    with pytest.raises(DataError, match="no such folder; expected one with music files"):
        read_layout(layout, tmp_path / "none")
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "PDMX.csv").write_text("path,metadata,mxl,is_user_pro\n")
    with pytest.raises(DataError, match=r"a file, which looks like PDMX\.csv; expected a folder"):
        read_layout(layout, tmp_path / "PDMX.csv")
    with pytest.raises(DataError, match=r"MIDI files, none where Lakh has|below it; expected"):
        read_layout(layout, tmp_path)
