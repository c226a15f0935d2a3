"""Interleaving, its inverse and bar lengths."""

import gzip
import json
import re
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clamp3.errors import FormatError
from clamp3.formats.abc import (
    Misalignment,
    alignment_warnings,
    deinterleave_abc,
    interleave_abc,
)

CURATED = Path(__file__).parent.parent / "golden" / "scores_curated.jsonl.gz"


def converted(rows):
    """The rows whose first conversion step succeeded."""
    return [row for row in rows if row["standard_abc"]]


@pytest.fixture(scope="module")
def curated():
    with gzip.open(CURATED, "rt", encoding="utf-8") as file:
        return converted([json.loads(line) for line in file])


@pytest.fixture(scope="module")
def all_scores(goldens):
    tables = ("scores_music21", "scores_extra")
    rows = [pyarrow.parquet.read_table(goldens / "formats" / f"{t}.parquet") for t in tables]
    return converted([row for table in rows for row in table.to_pylist()])


def interleaved_or_none(text):
    try:
        return interleave_abc(text)
    except FormatError:
        return None


def kind_of(text, function=interleave_abc):
    with pytest.raises(FormatError) as caught:
        function(text)
    return caught.value.kind


def rows_of(text):
    return [line for line in interleave_abc(text).splitlines() if line.startswith("[V:")]


# Against the original


def test_curated_scores_become_what_the_original_wrote(curated):
    assert len(curated) == 120
    for row in curated:
        assert interleave_abc(row["standard_abc"]) == row["interleaved_abc"], row["id"]


def test_all_recorded_scores_become_what_the_original_wrote(all_scores):
    wrong = [
        row["id"]
        for row in all_scores
        if interleaved_or_none(row["standard_abc"]) != row["interleaved_abc"]
    ]
    assert not wrong
    assert len(all_scores) == 817


def test_scores_with_leaked_lyrics_are_refused_as_by_the_original(all_scores):
    refused = [row for row in all_scores if not row["interleave_ok"]]
    assert len(refused) == 2
    assert {kind_of(row["standard_abc"]) for row in refused} == {"unequal_bars"}


def test_alignment_warnings_are_those_of_the_original(all_scores):
    for row in all_scores:
        messages = {m for m in row["interleave_messages"] or () if m.startswith("Odd")}
        if not row["interleave_ok"]:
            continue
        found = {
            f"Odd bar duration  V:{w.voice}  bar  {w.bar - 1}"
            for w in alignment_warnings(row["standard_abc"])
        }
        # Recorded messages stop at fifty lines.
        assert messages <= found, row["id"]
        assert len(messages) == min(len(found), len(messages) if len(messages) > 45 else 45)


# There and back


def test_interleaving_survives_its_inverse(curated):
    for row in curated:
        interleaved = row["interleaved_abc"]
        assert interleave_abc(deinterleave_abc(interleaved)) == interleaved, row["id"]


def test_interleaved_scores_stay_as_they_are(curated):
    for row in curated:
        assert interleave_abc(row["interleaved_abc"]) == row["interleaved_abc"], row["id"]


def test_deinterleaved_score_is_complete_standard_abc():
    text = "M:2/4\nK:C\nV:1 treble \nV:2 bass \n[V:1]|:CD|1[V:2]|:C,2|1\n[V:1]EF:|2[V:2]z2:|2\n"
    assert deinterleave_abc(text) == (
        "X:1\nL:1/8\nM:2/4\nK:C\nV:1 treble \nV:2 bass \nV:1\n |:CD|1 EF:|2\nV:2\n |:C,2|1 z2:|2\n"
    )


def test_deinterleaved_lines_are_wrapped_at_bars():
    bar = "CDEF GABc|"
    text = "K:C\nV:1 treble \n" + f"[V:1]{bar}\n" * 30
    lines = deinterleave_abc(text).splitlines()
    assert max(map(len, lines)) <= 100
    assert "".join(lines).count(bar) == 30


def test_deinterleave_refuses_other_text():
    assert kind_of("X:1\nK:C\nCDEF|\n", deinterleave_abc) == "not_interleaved"
    assert kind_of("K:C\n[V:1]C|[V:2]C|\n[V:1]D|\n", deinterleave_abc) == "unequal_bars"


bar_texts = st.sampled_from(
    ["C2 D2", "z4", '"Am"c4', "[CEG]4", "(3CDE F2", '"^dolce"x4', "!p!A>B c2", "[K:D] f4", "z2 z2"]
)
bar_lines = st.sampled_from(["|", "||", ":|", "::", "|:"])


@st.composite
def pieces(draw):
    """Rows of (text, bar line) per voice; first and last row hold a note."""
    voices = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(bar_texts, min_size=voices, max_size=voices), max_size=12))
    rows = [["C4"] * voices, *rows, ["G,4"] * voices]
    lines = [draw(bar_lines) for _ in rows[:-1]] + ["|]"]
    return [[text + line for text in row] for row, line in zip(rows, lines, strict=True)]


@given(pieces(), st.integers(1, 5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_wrapping_of_voices_gives_the_rows_it_was_made_of(rows, bars_per_line, crlf):
    names = range(1, len(rows[0]) + 1)
    header = ["L:1/8", "M:4/4", "K:C", *(f"V:{n} treble " for n in names)]
    body = []
    for n in names:
        bars = [row[n - 1].replace("|", " |", 1) for row in rows]
        lines = [bars[i : i + bars_per_line] for i in range(0, len(bars), bars_per_line)]
        body += [f"V:{n}", *(" ".join(line) + f" %{i}" for i, line in enumerate(lines)), "w: la"]
    text = "\n".join(["X:1", "T:Test", *header, *body]) + "\n"
    text = text.replace("\n", "\r\n") if crlf else text
    expected = ["".join(f"[V:{n}]{row[n - 1]}" for n in names) for row in rows]
    assert interleave_abc(text).splitlines() == header + expected


# Hand-checked details


def test_titles_lyrics_and_silent_ends_go():
    text = (
        "X:1\nT:Title\nC:Me\n%%MIDI program 1\nL:1/8\nM:4/4\nK:C\nV:1 treble \nV:2 bass \n"
        'V:1\n"^wait" z8 | z8 | C8 | z8 | z8 |] %5\nw: la\n'
        "V:2\n x8 | z8 | z8 | C,8 | z8 |]\n"
    )
    assert interleave_abc(text) == (
        "L:1/8\nM:4/4\nK:C\nV:1 treble \nV:2 bass \n[V:1]C8|[V:2]z8|\n[V:1]z8|][V:2]C,8|]\n"
    )


def test_prefix_and_opening_bar_line_stay_with_the_first_row():
    text = "K:C\nV:1 treble \nV:1\n[M:3/4] |: z3 | CDE | FGA :|\n"
    assert rows_of(text) == ["[V:1][M:3/4]|:CDE|", "[V:1]FGA:|"]


def test_endings_belong_to_the_bar_line_before():
    text = "K:C\nV:1 treble \nV:1\n CDE |1 FGA :|2,3 c3 ||4-6 d3 |]\n"
    assert rows_of(text) == ["[V:1]CDE|1", "[V:1]FGA:|2,3", "[V:1]c3||4-6", "[V:1]d3|]"]


def test_words_with_bar_lines_and_escaped_quotes_go():
    text = 'K:C\nV:1 treble nm="a | b" \nV:1\n"^a | b"C4 |\n"^say \\"yes\\""D4 |]\n'
    assert interleave_abc(text) == ('K:C\nV:1 treble nm="a | b" \n[V:1]C4|\n[V:1]"^say yes"D4|]\n')


def test_words_with_a_double_colon_go():
    assert rows_of('K:C\nV:1\n"^a::b"C4|\n"^a:b"D4|]\n') == ["[V:1]C4|", '[V:1]"^a:b"D4|]']


@pytest.mark.parametrize("rest", ["z4", "Z", "x4", "X", '"^tutti"z4', "!fermata!z4"])
def test_every_kind_of_rest_is_silent_at_the_start(rest):
    assert rows_of(f"K:C\nV:1\n{rest} | C4 |]\n") == ["[V:1]C4|]"]


def test_inline_field_ends_the_silence_at_the_start_only():
    text = "K:C\nV:1\n z4 | [K:D] z4 | C4 | [K:G] z4 | z4 |]\n"
    assert rows_of(text) == ["[V:1][K:D] z4|", "[V:1]C4|]"]


def test_bar_of_digits_keeps_its_last_digit():
    # The original takes all but one of them for the number of an ending.
    assert rows_of("K:C\nV:1\n C | 12 | D |]\n") == ["[V:1]C|1", "[V:1]2|", "[V:1]D|]"]


# What the original cannot read


def test_plain_tune_gets_the_form_of_a_converted_score():
    text = (
        "X:7\nT:The Reel\nC:Trad.\nR:reel\nH:a long story\nL:1/8\nM:4/4\nK:G\n"
        '|: "G"GABc "D7"d2 z2 | e4 d4 :|\n|: g8 |1 f8 :|2 e8 |]\nW:words\n'
    )
    assert interleave_abc(text) == (
        "L:1/8\nM:4/4\nK:G\nV:1 treble \n"
        '[V:1]|:"G"GABc "D7"d2 z2|\n[V:1]e4 d4::\n[V:1]g8|1\n[V:1]f8:|2\n[V:1]e8|]\n'
    )


def test_named_voices_are_numbered_and_joined():
    text = (
        'X:1\nM:4/4\nL:1/4\n%%score (S A) | B\nV:S clef=treble name="Soprano" sname="S."\n'
        "V:A clef=treble\nV:B clef=bass\nK:C\n"
        "[V:S] cdef|c4|\n[V:A] CDEF|C4|\n[V:B] C,4|C,4|\n[V:S] c4|]\n[V:A] C4|]\n[V:B] C,4|]\n"
    )
    assert interleave_abc(text) == (
        'M:4/4\nL:1/4\n%%score (1 2) | 3\nV:1 treble nm="Soprano" snm="S."\nV:2 treble \n'
        "V:3 bass \nK:C\n[V:1]cdef|[V:2]CDEF|[V:3]C,4|\n[V:1]c4|[V:2]C4|[V:3]C,4|\n"
        "[V:1]c4|][V:2]C4|][V:3]C,4|]\n"
    )


def test_voices_declared_where_they_start_and_continued_later():
    text = "X:1\nL:1/4\nK:C\nV:1 clef=treble\nCDEF|\nV:2 clef=bass\nC,4|\nV:1\nc4|]\nV:2\nC,4|]\n"
    assert interleave_abc(text) == (
        "L:1/4\nK:C\nV:1 treble \nV:2 bass \n[V:1]CDEF|[V:2]C,4|\n[V:1]c4|][V:2]C,4|]\n"
    )


def test_field_lines_become_inline_and_comments_go():
    text = "L:1/4\nK:C\nCDEF|\\\nGABc|| % end\nP:B\nK:D % two sharps\nM:3/4\nN:note\ndef|d3|]\n"
    assert rows_of(text) == [
        "[V:1]CDEF|",
        "[V:1]GABc||",
        "[V:1][K:D][M:3/4]def|",
        "[V:1]d3|]",
    ]


def test_voices_named_in_the_header_without_properties_keep_key_and_order():
    text = "X:1\nL:1/8\nV:1\nV:2\nI:papersize A4\nK:D\n[V:1]abcd|\n[V:2]ABCD|\n"
    assert interleave_abc(text) == (
        "L:1/8\nI:papersize A4\nK:D\nV:1 treble \nV:2 treble \n[V:1]abcd|[V:2]ABCD|\n"
    )


def test_comments_behind_declarations_go():
    text = 'L:1/8\nV:1 name="50% A" % first\nK:C % none\n[V:1]abcd|\n'
    assert interleave_abc(text) == 'L:1/8\nV:1 nm="50% A"\nK:C\n[V:1]abcd|\n'


def test_music_before_the_first_switch_of_voice_is_no_header():
    assert rows_of("X:1\nK:D\nabcd|\n[V:2]ABCD|\n") == ["[V:1]abcd|[V:2]ABCD|"]


def test_bars_of_silence_are_counted():
    text = 'K:C\nV:1\nabcd|efga|abcd|\nV:2\n"^tacet"\nZ3|]\n'
    assert rows_of(text) == [
        '[V:1]abcd|[V:2]"^tacet"Z|',
        "[V:1]efga|[V:2]Z|",
        "[V:1]abcd|[V:2]Z|]",
    ]
    assert len(rows_of("K:C\nV:1\nabcd|efga|abcd|\nV:2\nZ3\n")) == 3


@pytest.mark.parametrize(
    "text",
    [
        "A book | of tunes\n\nX:1\nH:History\nand more of it\nK:C\nabcd|efga|\n",
        "K:C\nabcd|efga|\nw:|la la la la|\n",
        "K:C\nabcd|ef\\ % goes on\nga|\n",
        "K:C % no sharps\nabcd|efga|\n",
        "  % blanks first\nK:C\nabcd|efga|\n",
        "K:C\nabcd|\n%%begintext\nall | words\n%%endtext\nefga|\n",
        "K:C\nabcd|\n%%begintext\nno bars\n%%endtext\nefga\n",
        "K:C\nabcd|efga|\n\nCollected by Ed and Deb\nin a pub\n",
    ],
)
def test_words_around_the_music_go(text):
    rows = "[V:1]abcd|\n[V:1]efga|\n"
    assert interleave_abc(text) == f"L:1/8\nK:C\nV:1 treble \n{rows}"


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        (":|\n|:", "::"),
        ("|\n|:", "|:"),
        ("||\n|", "||"),
        ("|\n||", "||"),
        (":| |", ":|"),
        ("| |", "|"),
        ("||\n:|", ":|"),
    ],
)
def test_two_bar_lines_in_a_row_become_one(between, expected):
    assert rows_of(f"K:C\nCDEF {between} GABc |]\n") == [f"[V:1]CDEF{expected}", "[V:1]GABc|]"]


def test_unfinished_last_bar_is_closed():
    assert rows_of("K:C\nCDEF|GABc\n") == ["[V:1]CDEF|", "[V:1]GABc|"]
    assert rows_of("K:C\nCDEF") == ["[V:1]CDEF|"]
    assert rows_of("K:C\nV:1\nC|D\nV:2\nE|F|]\n") == ["[V:1]C|[V:2]E|", "[V:1]D|[V:2]F|]"]


def test_implied_unit_length_is_said():
    assert interleave_abc("M:2/4\nK:C\nC8|]\n").startswith("L:1/16\nM:2/4\n")
    assert interleave_abc("M:C|\nK:C\nC8|]\n").startswith("L:1/8\nM:C|\n")


def test_clef_of_the_key_line_is_the_voices_clef():
    assert "V:1 bass \n" in interleave_abc("L:1/8\nK:G clef=bass\nG,8|]\n")


def test_line_that_starts_with_a_note_and_a_repeat_is_music():
    assert rows_of("K:C\nCDE\nC:|\nD4|]\n") == ["[V:1]CDEC:|", "[V:1]D4|]"]
    assert rows_of("K:C\nCDE\nC::D4|]\n") == ["[V:1]CDEC::", "[V:1]D4|]"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty_file"),
        (" \n\r\n", "empty_file"),
        ("hello\n", "no_voice"),
        ("<html></html>\n", "no_voice"),
        ("X:1\nK:C\n", "empty_piece"),
        ("X:1\nK:C\nV:1\nV:2\n", "empty_piece"),
        ("K:C\nz4|x4|]\n", "empty_piece"),
        ("K:C\n|\n|\n", "no_bars"),
        ("K:C\nV:1\nC|D|\nV:2\nC|\n", "unequal_bars"),
        ("X:1\nK:C\nC|\n\nX:2\nK:D\nD|\n", "several_tunes"),
    ],
)
def test_refusals(text, kind):
    assert kind_of(text) == kind


def test_unequal_bars_are_counted_in_the_message():
    with pytest.raises(FormatError, match=r"V:1 2, V:2 1"):
        interleave_abc("K:C\nV:1\nC|D|\nV:2\nC|\n")


# Lengths


def test_misaligned_bars_are_named():
    text = "L:1/8\nK:C\nV:1\n C8 | D4 E4 |]\nV:2\n C,8 | D,4 E,7/2 |]\n"
    assert alignment_warnings(text) == [Misalignment(2, "2", Fraction(15, 2), Fraction(8))]
    assert alignment_warnings(interleave_abc(text)) == alignment_warnings(text)


@pytest.mark.parametrize(
    "bar",
    [
        "(3CDE F2 G4",
        "(3:2:4C2D2EE C4",
        "C/D/E//F//G/4A/4B/4c/4 C//D// C8-3",
        "C>D E<F {ag}c4",
        '!trill(!C4 "^4 beats"[CEG]4',
        "[K:D][C2E2]2 c4",
        "[(3CE]8",
        "(3:2:5(3:2:3ABC D2E2 C4",
        "C8 & D4 E4",
        "(1:1:3G21/64F21/64A21/64 A7",
    ],
)
def test_length_of_a_bar(bar):
    expected = {"C/D/E//F//G/4A/4B/4c/4 C//D// C8-3": Fraction(11)}
    text = f"K:C\nV:1\n C8 |]\nV:2\n {bar} |]\n"
    found = [w.units for w in alignment_warnings(text)]
    assert found == [expected[bar]] if bar in expected else found == []


# No text may break the reader


SCRAPS = (
    'X:1,K:C,V:1,V:2 bass,\n,\n,|,:|,|:,|1,[V:1],[K:D],C,z,",(3,1,:,\r,é, ,"^a|b",'
    "!p!,%5,%,w:la,[,],\\,&"
)
tokens = st.sampled_from(SCRAPS.split(","))


@given(st.lists(tokens, max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_only_format_errors_and_a_stable_result(text):
    try:
        result = interleave_abc(text)
    except FormatError:
        return
    assert result.endswith("\n")
    assert "\n\n" not in result
    alignment_warnings(text)
    rows = [line for line in result.splitlines() if line.startswith("[V:")]
    voices = [len(re.findall(r"\[V:[^][|]*\]", row)) for row in rows]  # not "[V:1|", a scrap
    assert len(set(voices)) == 1


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_a_format_error_at_worst(text):
    for candidate in (text, f"X:1\nK:C\n{text}", f"K:C\nV:1\n{text}|C|"):
        interleaved_or_none(candidate)
