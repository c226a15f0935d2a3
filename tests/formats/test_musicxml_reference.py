"""Rules of the reference that show only in unusual scores.

What is expected is what the reference, or its published packaging, writes for the same score.
"""

import pytest
from formats.test_musicxml import (
    FOUR_FOUR,
    backup,
    beamed,
    body,
    convert,
    convert_parts,
    direction,
    forward,
    grace,
    in_tuplet,
    notations,
    note,
    pitch_xml,
    voices,
)

WORDS = direction("<words>w</words>")
REPEAT = '<barline location="left"><repeat direction="forward"/></barline>'
FERMATA = "<fermata/>"
FINGER = "<technical><fingering>1</fingering></technical>"
TREMOLO = '<ornaments><tremolo type="single">2</tremolo></ornaments>'
SLIDE = '<slide type="start" line-type="solid"/>'


def attributes(inside: str) -> str:
    return f"<attributes>{inside}</attributes>"


def with_clef(inside: str, after: str = "") -> str:
    head = FOUR_FOUR.partition("<clef>")[0]
    return f"{head}<clef>{inside}</clef>{after}</attributes>"


def key(fifths: int) -> str:
    return f"<key><fifths>{fifths}</fifths></key>"


def time(beats: int) -> str:
    return f"<time><beats>{beats}</beats><beat-type>4</beat-type></time>"


def hidden(element: str) -> str:
    return element.replace("<note>", '<note print-object="no">')


def timed(*events: tuple[str, int, int]) -> str:
    """One voice's notes as (pitch, onset, duration), in document order."""
    xml = ""
    now = 0
    for pitch, onset, duration in events:
        xml += backup(now - onset) if onset < now else ""
        xml += forward(onset - now) if onset > now else ""
        xml += note(pitch, duration)
        now = onset + duration
    return xml


@pytest.mark.parametrize(
    ("events", "bar"),
    [
        ([("E4", 0, 6), ("C4", 4, 4)], " [EC]6 C2 |"),
        ([("E4", 0, 8), ("C4", 2, 2)], " [EC]8 |"),
        ([("E4", 0, 2), ("F4", 2, 2), ("C4", 0, 8)], " [EC]2 [CF]6 |"),
        ([("rest", 0, 8), ("E4", 2, 4)], " z2 E4 x2 |"),
        ([("rest", 0, 8), ("E4", 0, 4), ("F4", 4, 4)], " E4 F4 |"),
        ([("E4", 0, 6), ("rest", 4, 4)], " E6 x2 |"),
        ([("rest", 0, 4), ("rest", 0, 8), ("E4", 4, 4)], " z4 E4 |"),
    ],
)
def test_overlaps_in_a_voice(events, bar):
    assert body(convert(timed(*events))) == bar


def test_nothing_joins_a_chord_across_a_mark():
    music = note("E4", 4) + backup(2) + WORDS + note("C4", 6)
    assert body(convert(music)) == ' E4"^w" x4 |'


def test_hidden_notes_in_overlaps_and_chords():
    assert body(convert(note("E4", 6) + backup(2) + hidden(note("C4", 2)))) == " [Ex]6 |"
    chord = hidden(note("C4", 4)) + note("E4", 4, chord=True)
    assert body(convert(chord + note("D4", 4))) == " [xE]4 D4 |"
    chord = note("C4", 4) + hidden(note("E4", 4, chord=True))
    assert body(convert(chord + note("D4", 4))) == " C4 D4 |"


def test_chords_with_rests_and_over_bar_lines():
    assert body(convert(note("C4", 4) + note("rest", 4, chord=True))) == " [Cz]4 |"
    assert body(convert(note("C4", 8), note("E4", 8, chord=True) + note("F4", 8))) == (
        " [CE]8 | F8 |"
    )


def test_braces_of_grace_notes_end_before_the_next_note_of_the_part():
    end = note("C4", 8) + grace("D4")
    assert body(convert(end, note("C4", 8))) == " C8{D} | C8 |"
    assert body(convert(end, grace("E4") + note("C4", 8))) == " C8{D |E} C8 |"
    assert body(convert(end)) == " C8{D |"
    assert body(convert(grace("D4") + WORDS + grace("E4") + note("C4", 8))) == '{D"^w"E} C8 |'
    music = {"A": end, "B": grace("D4") + note("C4", 8)}
    parts = [
        f"<part id='{name}'><measure>{FOUR_FOUR}{bar}</measure></part>"
        for name, bar in music.items()
    ]
    assert voices(convert_parts(*parts)) == [" C8{D |", "D} C8 |"]


def test_no_length_at_all_is_written_as_an_eighth():
    assert body(convert(note("C4", 0) + note("D4", 8))) == " C D8 |"


@pytest.mark.parametrize(
    ("duration", "length"), [(550, ""), (560, ""), (561, "71/64"), (3900, "7"), (2, "0")]
)
def test_rounded_lengths(duration, length):
    fine = FOUR_FOUR.replace("<divisions>2", "<divisions>1009")
    assert body(convert(note("C4", duration), attributes=fine)) == f" C{length} |"


def test_smallest_lengths_are_rounded_up():
    fine = FOUR_FOUR.replace("<divisions>2", "<divisions>256")
    assert body(convert(note("C4", 1) + note("C4", 33), attributes=fine)) == " C/64 C/4 |"


def test_signs_of_a_chord_go_note_by_note():
    def chord(first: str, second: str) -> str:
        low = note("C4", 8, notations(first))
        return body(convert(low + note("E4", 8, notations(second), chord=True)))

    assert chord(FINGER, FERMATA) == " !1!!fermata![CE]8 |"
    assert chord(FERMATA, SLIDE + TREMOLO) == " !fermata!!-(!!//![CE]8 |"
    assert chord(FINGER + FERMATA, FINGER + FERMATA) == " !fermata!!1![CE]8 |"
    assert chord(TREMOLO, SLIDE) == " !//!!-(![CE]8 |"


def test_one_slide_to_a_note():
    both = '<slide type="start" line-type="wavy"/><glissando type="stop" line-type="solid"/>'
    assert body(convert(note("C4", 8, notations(both, FERMATA)))) == " !-)!!fermata!C8 |"


def test_articulations():
    detached = "<articulations><detached-legato/></articulations>"
    assert body(convert(note("C4", 8, notations(detached)))) == " !tenuto!.C8 |"
    unnumbered = "<technical><fingering/></technical>"
    assert body(convert(note("C4", 8, notations(unnumbered)))) == " !None!C8 |"


def test_two_octaves_are_written_as_one():
    start = direction('<octave-shift type="up" size="15"/>')
    stop = direction('<octave-shift type="stop" size="15"/>')
    assert body(convert(start + note("C4", 4) + stop + note("C4", 4))) == "!8vb(! C4!8vb)! C4 |"


def test_dynamics_in_their_order():
    assert body(convert(direction("<dynamics><f/><p/></dynamics>") + note("C4", 8))) == (
        "!p!!f! C8 |"
    )


@pytest.mark.parametrize(
    ("inside", "sound", "mark"),
    [
        ("<words>To Coda</words>", 'tocoda="c" dalsegno="s"', "!D.S.!"),
        ("<words>x</words>", 'coda="c"', "!O!"),
        ("<words>x</words>", 'segno="s"', "!S!"),
        ("<coda/>", 'tocoda="c"', "O"),
        ("<dynamics><p/></dynamics>", 'dacapo="yes"', "!p!"),
    ],
)
def test_jumps(inside, sound, mark):
    assert body(convert(direction(inside, f"<sound {sound}/>") + note("C4", 8))) == f"{mark} C8 |"


@pytest.mark.parametrize(("unit", "tempo"), [("eighth", "1/8"), ("16th", "1/4"), ("breve", "1/4")])
def test_beats_of_tempo(unit, tempo):
    metronome = f"<beat-unit>{unit}</beat-unit><per-minute>60</per-minute>"
    abc = convert(direction(f"<metronome>{metronome}</metronome>") + note("C4", 8))
    assert f"\nQ:{tempo}=60\n" in abc


@pytest.mark.parametrize(
    ("kind", "degrees", "symbol"),
    [
        ("major-minor", [], "Cmaj"),
        ("power", [], "Cpower"),
        ("other", [], "Cother"),
        ("dominant-seventh", [], "C7"),
        ("suspended-fourth", [("7", 0), ("9", 0)], "C9sus4"),
        ("dominant", [("13", 0)], "C13"),
        ("major-seventh", [("11", 1)], "Cmaj7#11"),
        ("major-sixth", [], "C6"),
        ("augmented", [("9", 2)], "C+9"),
    ],
)
def test_chord_symbols(kind, degrees, symbol):
    inside = "".join(
        f"<degree><degree-value>{value}</degree-value><degree-alter>{alter}</degree-alter></degree>"
        for value, alter in degrees
    )
    root = "<root><root-step>C</root-step></root>"
    harmony = f"<harmony>{root}<kind>{kind}</kind>{inside}</harmony>"
    assert body(convert(harmony + note("C4", 8))) == f'"{symbol}" C8 |'


def test_no_chord():
    harmony = '<harmony><kind text="N.C.">none</kind></harmony>'
    assert body(convert(harmony + note("C4", 8))) == '"N.C." C8 |'


def test_printed_accidental_holds_until_the_bar_ends():
    sharp = "<accidental>sharp</accidental>"
    assert body(convert(note("F4", 4, sharp) + note("F4", 4))) == " ^F4 =F4 |"


def test_quarter_tones_without_accidental_are_left_out():
    half_sharp = note("F4", 8).replace("<alter>0", "<alter>0.5")
    assert body(convert(half_sharp)) == " F8 |"


def test_a_tuplet_lasts_while_notes_have_any_ratio():
    triplet, fourth = in_tuplet(3, 2), in_tuplet(4, 3)
    assert body(convert(note("C4", 1, triplet) * 3 + note("C4", 1, fourth))) == (
        " (3:2:4C3/2 C3/2 C3/2 C4/3 |"
    )
    stop = notations('<tuplet type="stop"/>')
    assert body(convert(note("C4", 1, triplet, stop) * 2)) == " (3:2:1C3/2 (3:2:1C3/2 |"


def test_inner_tuplet_in_whole_numbers():
    start, stop = (notations(f'<tuplet type="{kind}"/>') for kind in ("start", "stop"))
    outer, inner = in_tuplet(3, 2), in_tuplet(5, 4)
    music = note("C4", 2, outer, start) + note("C4", 2, inner, start) + note("C4", 2, inner, stop)
    assert body(convert(music)) == " (3C3 (1:2:2C5/2 C5/2 |"


def test_fields_in_their_order_before_an_opening_repeat():
    assert body(convert(REPEAT + note("C4", 4) + attributes(key(1)) + note("C4", 4))) == (
        "[K:G]|: C4 C4 |"
    )
    second = attributes(time(3)) + note("C4", 4) + attributes(key(2) + time(5))
    assert body(convert(note("C4", 8), second + note("D4", 4))) == (
        " C8 |[M:3/4][K:D][M:5/4] C4 D4 |"
    )


def test_transposition_with_a_later_clef():
    change = "<clef><sign>F</sign><line>4</line></clef><transpose><chromatic>-2</chromatic>"
    abc = convert(note("C4", 8), attributes(change + "</transpose>") + note("C4", 8))
    assert body(abc) == " C8 |[K:bass transpose=-2] C8 |"


def test_free_meter_is_not_written():
    free = attributes("<time><senza-misura/></time>")
    assert body(convert(note("C4", 8), free + note("C4", 8))) == " C8 | C8 |"


def test_first_clef_in_a_later_bar_is_written_there():
    bare = FOUR_FOUR.partition("<clef>")[0] + "</attributes>"
    clef = attributes("<clef><sign>F</sign><line>4</line></clef>")
    abc = convert(note("C4", 8), clef + note("C4", 8), attributes=bare)
    assert "\nV:1 treble \n" in abc
    assert body(abc) == " C8 |[K:bass] C8 |"


def test_rest_under_a_beam_takes_the_beam_of_its_note():
    assert body(convert(beamed("rest", "C4", "D4") + note("rest", 5))) == "zCD z5 |"
    gap = note("C4", 3, beam="begin") + forward(1) + note("C4", 1, beam="end") + note("D4", 3)
    assert body(convert(gap)) == " C2>x2C D3 |"


def test_ties_of_silence():
    tie = '<tie type="start"/>'
    assert body(convert(note("C4", 4) + note("rest", 4, tie))) == " C4 z4- |"
    assert body(convert(note("C4", 4) + hidden(note("C4", 4, tie)))) == " C4 x4- |"


def test_stemless_chord_notes():
    stemless = note("C4", 8) + note("E4", 8, "<stem>none</stem>", chord=True)
    abc = convert(stemless)
    assert "\nU:s=!stemless!\n" in abc
    assert body(abc) == " s[CE]8 |"


STRINGS = (
    "<staff-details><staff-lines>2</staff-lines>"
    "<staff-tuning line='1'><tuning-step>E</tuning-step><tuning-octave>2</tuning-octave>"
    "</staff-tuning><staff-tuning line='2'><tuning-step>A</tuning-step>"
    "<tuning-octave>2</tuning-octave></staff-tuning><capo>3</capo></staff-details>"
)
ON_STRING_2 = notations("<technical><string>2</string><fingering>1</fingering></technical>")


def test_tablature():
    tab = with_clef("<sign>TAB</sign><line>5</line>", STRINGS)
    chord = note("C4", 4, ON_STRING_2, FERMATA) + note("E4", 4, chord=True)
    abc = convert(chord + note("rest", 4), attributes=tab)
    assert "\nV:1 tab stafflines=2 strings=E2,A2 capo=3 \n" in abc
    assert body(abc) == " [!2!CE]4 x4 |"


def test_tablature_without_stems():
    tab = with_clef("<sign>TAB</sign><line>5</line>")
    stemless = note("C4", 4, ON_STRING_2, stem="none")
    abc = convert(stemless * 2, attributes=tab)
    assert "\nV:1 tab nostems \n" in abc
    assert body(abc) == " !2!C4 !2!C4 |"
    abc = convert(stemless + note("C4", 4, ON_STRING_2), attributes=tab)
    assert "\nU:s=!stemless!\nV:1 tab \n" in abc
    assert body(abc) == " s!2!C4 !2!C4 |"


def drum(step: str, octave: int, head: str = "", inside: str = "") -> str:
    place = f"<display-step>{step}</display-step><display-octave>{octave}</display-octave>"
    shape = f"<notehead>{head}</notehead>" if head else ""
    return f"<note><unpitched>{place}</unpitched><duration>4</duration>{inside}{shape}</note>"


def test_drums_without_midi_keys():
    abc = convert(drum("C", 5) + drum("E", 4, "x"))
    assert "\nV:1 treble map=perc \nK:none\nI:percmap ^E E 64 x\nV:1\n" in abc
    assert body(abc) == " c4 ^E4 |"
    abc = convert(drum("C", 5), attributes=with_clef("<sign>F</sign><line>4</line>"))
    assert "\nV:1 bass map=perc \nK:none\nI:percmap c a' 72 normal\nV:1\n" in abc


@pytest.mark.parametrize(
    ("head", "sign"), [("x", "^"), ("diamond", "_"), ("circle-x", "_"), ("slash", "")]
)
def test_noteheads_of_drums(head, sign):
    assert body(convert(drum("C", 5, head) + drum("E", 4))) == f" {sign}c4 E4 |"


def test_unpitched_note_without_a_place():
    assert body(convert("<note><unpitched/><duration>8</duration></note>")) == " e8 |"


@pytest.mark.parametrize(
    ("groups", "score"),
    [
        ("(1 (2 P P )1 )2", "[ [ 1 2 ] ]"),
        ("(1 P (2 P P )1 P )2", "[ 1 [ 2 3 ] 4 ]"),
        ("(1 P P (1 P P )1", "[ 1 2 ] [ 3 4 ]"),
    ],
)
def test_brackets_that_overlap(groups, score):
    inside = ""
    names = iter("ABCDEF")
    parts = []
    for sign, *number in groups.split():
        if sign == "P":
            name = next(names)
            inside += f"<score-part id='{name}'/>"
            parts.append(f"<part id='{name}'><measure>{FOUR_FOUR}{note('C4', 8)}</measure></part>")
        else:
            kind = "start" if sign == "(" else "stop"
            inside += f"<part-group number='{number[0]}' type='{kind}'/>"
    abc = convert_parts(*parts, head=f"<part-list>{inside}</part-list>")
    assert f"\n%%score {score}\n" in abc


@pytest.mark.parametrize(
    ("software", "order"), [("Dolet 6 for Sibelius", "12"), ("MuseScore", "21")]
)
def test_files_of_sibelius_are_known_by_their_first_program(software, order):
    head = (
        f"<identification><encoding><software>{software}</software>"
        "<software>Sibelius</software></encoding></identification>"
    )
    music = note("C4", 8, voice=2, staff=1) + backup(8) + note("E4", 8, voice=1, staff=1)
    letters = {"1": " E8 |", "2": " C8 |"}
    assert voices(convert(music, head=head)) == [letters[name] for name in order]


def test_bar_with_only_the_end_of_an_extension():
    start = '<lyric><text>a</text><extend type="start"/></lyric>'
    stop = '<lyric><extend type="stop"/></lyric>'
    abc = convert(note("C4", 8, start), note("C4", 8, stop), note("C4", 8))
    assert "\nw: a|||\n" in abc


def test_slur_from_an_earlier_part_only_ends():
    def part(name: str, kind: str) -> str:
        slur = notations(f'<slur type="{kind}" number="1"/>')
        return f"<part id='{name}'><measure>{FOUR_FOUR}{note('C4', 8, slur)}</measure></part>"

    assert voices(convert_parts(part("A", "start"), part("B", "stop"))) == [" C8 |", " C8) |"]


def test_tremolo_of_a_grace_note_stands_before_its_brace():
    ornamented = f"<note><grace/>{pitch_xml('D4')}{notations(TREMOLO, FERMATA)}</note>"
    assert body(convert(ornamented + note("C4", 8))) == "!//!{!fermata!D} C8 |"
