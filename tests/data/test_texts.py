"""Sentences say what the metadata say, the same for a piece for ever, and nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clamp3.data.instruments import DRUMS
from clamp3.data.texts import (
    Heading,
    PieceFacts,
    PieceTexts,
    one_line_text,
    read_subtitle,
    write_texts,
)

TUNE = PieceFacts(
    title="The Miller's Maid",
    subtitle="Slip jig in B-flat mixolydian 9/8",
    collection="Ryan's Mammoth Collection",
    genres=["folk"],
    tags=["slipjig", "fiddletune"],
    programs=[40],
    complexity=1,
    bars=16,
    tracks=1,
    notes_per_bar=7.6,
)
IDS = [f"pdmx/Qm{number}" for number in range(200)]
words = st.text("abdeijéßж愛12", min_size=1, max_size=9)  # cannot spell None or NA
facts = st.builds(
    PieceFacts,
    **dict.fromkeys(("title", "song", "artists", "subtitle", "collection"), st.none() | words),
    genres=st.lists(words),
    tags=st.lists(words),
    programs=st.lists(st.integers(0, DRUMS)),
    complexity=st.none() | st.integers(0, 5),
    bars=st.none() | st.integers(0, 40_000),
    tracks=st.none() | st.integers(0, 80),
    notes_per_bar=st.none() | st.floats(0, 5000),
)


@pytest.mark.parametrize(
    ("subtitle", "heading"),
    [
        ("Reel in D major 4/4", Heading("reel", "D major", "4/4")),
        ("Slip jig in B-flat mixolydian 9/8", Heading("slip jig", "B flat mixolydian", "9/8")),
        ("Air in Bb minor, 3/4", Heading("air", "B flat minor", "3/4")),
        ("Air in B♭ minor 3/4", Heading("air", "B flat minor", "3/4")),
        ("Air in B- minor 3/4", Heading("air", "B flat minor", "3/4")),
        ("Chorale in F# minor 4/4", Heading("chorale", "F sharp minor", "4/4")),
        ("chorale IN f-sharp MINOR 4/4", Heading("chorale", "F sharp minor", "4/4")),
        ("March in A flat Major in 6/8", Heading("march", "A flat major", "6/8")),
        ("in A dorian 12/8", Heading(None, "A dorian", "12/8")),
        ("Sonata in C minor", Heading(None, "C minor", None)),
        ("Op. 3 in C minor 4/4", Heading(None, "C minor", "4/4")),
        ("Waltz in the style in E major 3/4", Heading("waltz in the style", "E major", "3/4")),
    ],
)
def test_subtitles_that_follow_the_convention(subtitle, heading):
    assert read_subtitle(subtitle) == heading


@pytest.mark.parametrize(
    "subtitle",
    [None, "", "K. 15h", "for SATB", "in a hurry", "Reel in H major 4/4", "D major 4/4", "in 4/4"],
)
def test_other_subtitles_say_nothing_about_the_music(subtitle):
    assert read_subtitle(subtitle) is None


@pytest.mark.parametrize("piece_id", IDS[:20])
def test_an_analysis_names_what_a_query_asks_for(piece_id):
    analysis = write_texts(piece_id, TUNE).analysis
    for fact in ("slip jig", "B flat mixolydian", "9/8", "16 bars", "1 part", "violin", "8 notes"):
        assert fact in analysis.lower().replace("b flat", "B flat")
    assert "Miller" not in analysis
    assert "Ryan" not in analysis


def test_a_piece_keeps_its_phrasing_and_others_have_others():
    texts = [write_texts(piece_id, TUNE) for piece_id in IDS]
    assert texts == [write_texts(piece_id, TUNE) for piece_id in IDS]
    for field in PieceTexts._fields:
        assert len({getattr(text, field) for text in texts}) >= 3, field


def test_phrasings_are_fixed():
    assert write_texts("pdmx/Qm1", TUNE) == PieceTexts(
        background="This music is called “The Miller's Maid”. Source: Ryan's Mammoth Collection.",
        analysis=(
            "Kind: slip jig; key: B flat mixolydian; metre: 9/8. It is 16 bars long, written in 1 "
            "part for violin. There are about 8 notes a bar, which makes a busy texture."
        ),
        description=(
            "Genre: folk. Difficulty: intermediate. Instruments: violin. It is tagged slipjig, "
            "fiddletune."
        ),
        scene="Somewhere people dance a slip jig, and this is played.",
    )


def test_a_bare_title_gives_a_background_and_no_more():
    for piece_id in IDS[:10]:
        texts = write_texts(piece_id, PieceFacts(title="Helvic Head"))
        assert "Helvic Head" in texts.background
        assert texts[1:] == (None, None, None)


def test_nothing_known_gives_nothing():
    assert write_texts("pdmx/Qm1", PieceFacts()) == (None, None, None, None)
    assert one_line_text(PieceFacts()) is None


@pytest.mark.parametrize("placeholder", ["Title", "untitled", "Untitled score"])
def test_what_musescore_writes_by_itself_is_no_title(placeholder):
    assert write_texts("pdmx/Qm1", PieceFacts(title=placeholder)).background is None
    assert write_texts("pdmx/Qm1", PieceFacts(artists="Composer")).background is None


def test_a_subtitle_is_told_once():
    plain = PieceFacts(title="Sonata", subtitle="Op. 3")
    assert "Op. 3" in write_texts("pdmx/Qm1", plain).background
    assert "jig" not in write_texts("pdmx/Qm1", TUNE).background


def test_a_song_is_told_when_it_is_not_the_title():
    assert "Song" not in str(write_texts("x", PieceFacts(title="Air", song="AIR")).background)
    assert "Suite 3" in write_texts("x", PieceFacts(title="Air", song="Suite 3")).background


@given(facts, st.sampled_from(IDS))
def test_texts_are_sentences_or_none(piece, piece_id):
    texts = write_texts(piece_id, piece)
    for text in texts:
        assert text is None or (text == text.strip() and text.endswith(".") and "  " not in text)
        assert text is None or not re.search(r"None|\bNA\b|\[|: \.|: ;", text)
    assert (texts.analysis is not None) == bool(
        piece.bars or piece.tracks or piece.programs or (piece.notes_per_bar or 0) > 0
    ) or read_subtitle(piece.subtitle)


@given(facts)
def test_texts_follow_from_id_and_facts_alone(piece):
    assert write_texts("pdmx/Qm1", piece) == write_texts("pdmx/Qm1", PieceFacts(*piece))


def test_numbers_agree_with_their_nouns():
    one = PieceFacts(bars=1, tracks=1, notes_per_bar=0.2)
    for piece_id in IDS[:20]:
        analysis = write_texts(piece_id, one).analysis
        assert "1 bar" in analysis
        assert "1 part" in analysis
        assert "1 note" in analysis
        assert not re.search(r"\b1 (bars|parts|notes)", analysis)


@pytest.mark.parametrize(
    ("notes", "tracks", "density"),
    [(2, 1, "sparse"), (6, 1, "moderate"), (8, 1, "busy"), (12, 1, "dense"), (20, 4, "moderate")],
)
def test_density_is_that_of_one_part(notes, tracks, density):
    text = write_texts("x", PieceFacts(tracks=tracks, notes_per_bar=notes)).analysis
    assert density in text


@pytest.mark.parametrize(
    ("tag", "scene"),
    [("christmas", "Christmas"), ("chorale", "church"), ("waltz", "a waltz"), ("piano", None)],
)
def test_scenes_are_only_told_where_the_tags_do(tag, scene):
    told = write_texts("pdmx/Qm1", PieceFacts(title="x", tags=[tag])).scene
    assert (scene in told) if scene else told is None


def test_the_one_line_text_is_the_lora_projects():
    text = one_line_text(
        PieceFacts(
            title="Helvic Head",
            artists="Trad., Somebody",
            genres=["folk", "worldmusic"],
            tags=["jig"],
            programs=[0, 40],
            complexity=2,
        ),
        composer="Trad.",
    )
    assert text == (
        "Title: Helvic Head. Composer: Trad.. Genre: folk-worldmusic. Instruments: 0-40. "
        "Tags: jig. Difficulty: Advanced"
    )


@pytest.mark.parametrize(
    ("complexity", "difficulty"),
    [(0, "Simple"), (1, "Intermediate"), (2, "Advanced"), (3, "Advanced"), (5, "Advanced")],
)
def test_difficulties(complexity, difficulty):
    assert one_line_text(PieceFacts(complexity=complexity)) == f"Difficulty: {difficulty}"
    description = write_texts("x", PieceFacts(complexity=complexity)).description
    assert difficulty.lower() in description


def test_an_artist_stands_in_for_the_composer():
    assert one_line_text(PieceFacts(artists="Anon")) == "Artist: Anon"
