"""General MIDI names stand at their numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clamp3.data.instruments import (
    DRUMS,
    PROGRAM_NAMES,
    ensemble,
    join_words,
    program_name,
    spoken_name,
)


def test_there_are_128_different_names():
    assert len(PROGRAM_NAMES) == len(set(PROGRAM_NAMES)) == 128


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (0, "Acoustic Grand Piano"),
        (6, "Harpsichord"),
        (8, "Celesta"),
        (16, "Drawbar Organ"),
        (21, "Accordion"),
        (24, "Acoustic Guitar (nylon)"),
        (32, "Acoustic Bass"),
        (40, "Violin"),
        (47, "Timpani"),
        (48, "String Ensemble 1"),
        (56, "Trumpet"),
        (64, "Soprano Sax"),
        (73, "Flute"),
        (80, "Lead 1 (square)"),
        (88, "Pad 1 (new age)"),
        (96, "FX 1 (rain)"),
        (104, "Sitar"),
        (112, "Tinkle Bell"),
        (120, "Guitar Fret Noise"),
        (127, "Gunshot"),
        (DRUMS, "Drums"),
    ],
)
def test_first_of_each_family(program, name):
    assert program_name(program) == name


@pytest.mark.parametrize("program", [-1, 129, 1000])
def test_other_numbers_are_no_programs(program):
    with pytest.raises(ValueError, match="no General MIDI program"):
        program_name(program)


@pytest.mark.parametrize(
    ("program", "name"),
    [(0, "piano"), (60, "French horn"), (80, "square lead"), (96, "rain sound effect")],
)
def test_spoken_names(program, name):
    assert spoken_name(program) == name


def test_spoken_names_have_no_brackets_and_no_numbers():
    spoken = [spoken_name(program) for program in range(129)]
    assert not [name for name in spoken if set("()0123456789") & set(name)]


def test_ensembles():
    assert ensemble([]) == ""
    assert ensemble([0, 0]) == "piano"
    assert ensemble([42, 40, 41, 40]) == "violin, viola and cello"


@given(st.lists(st.integers(0, DRUMS)))
def test_order_and_repeats_of_tracks_do_not_matter(programs):
    assert ensemble(programs) == ensemble(sorted(set(programs)))


def test_joining():
    joined = [join_words(list(words)) for words in ("", "a", "ab", "abc")]
    assert joined == ["", "a", "a and b", "a, b and c"]
