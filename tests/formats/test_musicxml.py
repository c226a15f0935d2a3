"""Small scores with the ABC that a person would check by hand. Divisions: 2, an eighth is 1."""

import pytest

from clamp3.formats.musicxml import musicxml_to_abc

FOUR_FOUR = (
    "<attributes><divisions>2</divisions><key><fifths>0</fifths></key>"
    "<time><beats>4</beats><beat-type>4</beat-type></time>"
    "<clef><sign>G</sign><line>2</line></clef></attributes>"
)


def note(pitch: str, duration: int = 2, *inside: str, chord: bool = False, **fields) -> str:
    """A note such as `F#4`, `Bb3` or `rest`; `fields` become child elements."""
    what = "<rest/>" if pitch == "rest" else pitch_xml(pitch)
    children = "".join(f"<{tag}>{text}</{tag}>" for tag, text in fields.items())
    return (
        f"<note>{'<chord/>' if chord else ''}{what}<duration>{duration}</duration>"
        f"{children}{''.join(inside)}</note>"
    )


def pitch_xml(pitch: str) -> str:
    alter = {"": 0, "#": 1, "b": -1, "##": 2, "bb": -2}[pitch[1:-1]]
    return (
        f"<pitch><step>{pitch[0]}</step><alter>{alter}</alter><octave>{pitch[-1]}</octave></pitch>"
    )


def grace(pitch: str, slash: str = "no") -> str:
    return f'<note><grace slash="{slash}"/>{pitch_xml(pitch)}</note>'


def beamed(*pitches: str, duration: int = 1) -> str:
    beams = ["begin"] + ["continue"] * (len(pitches) - 2) + ["end"]
    return "".join(note(p, duration, beam=b) for p, b in zip(pitches, beams, strict=True))


def notations(*inside: str) -> str:
    return f"<notations>{''.join(inside)}</notations>"


def direction(inside: str, after: str = "", placement: str = "above") -> str:
    kind = f"<direction-type>{inside}</direction-type>"
    return f'<direction placement="{placement}">{kind}{after}</direction>'


def backup(duration: int) -> str:
    return f"<backup><duration>{duration}</duration></backup>"


def forward(duration: int) -> str:
    return f"<forward><duration>{duration}</duration></forward>"


def in_tuplet(actual: int, normal: int) -> str:
    return (
        f"<time-modification><actual-notes>{actual}</actual-notes>"
        f"<normal-notes>{normal}</normal-notes></time-modification>"
    )


def convert(*measures: str, head: str = "", attributes: str = FOUR_FOUR) -> str:
    bars = "".join(
        f"<measure>{attributes if index == 0 else ''}{measure}</measure>"
        for index, measure in enumerate(measures)
    )
    return convert_parts(f'<part id="P1">{bars}</part>', head=head)


def convert_parts(*parts: str, head: str = "") -> str:
    return musicxml_to_abc(f"<score-partwise>{head}{''.join(parts)}</score-partwise>".encode())


def body(abc: str) -> str:
    """All music of a one-voice tune in one line, without bar numbers."""
    lines = abc.rstrip("\n").split("\n")
    music = [line for line in lines[lines.index("V:1") + 1 :] if not line.startswith("w:")]
    return "".join(line.rpartition(" %")[0] for line in music)


def voices(abc: str) -> list[str]:
    return [
        body("V:1\n" + voice.partition("\n")[2])
        for voice in abc.rstrip("\n").split("\nV:")[1:]
        if voice.partition("\n")[0].isdigit()
    ]


def test_whole_tune():
    head = (
        "<work><work-title>Song</work-title></work><identification>"
        '<creator type="composer">A. Nonymous</creator><creator type="lyricist">Poet</creator>'
        "<rights>CC0</rights></identification><part-list><score-part id='P1'>"
        "<part-name>Flute</part-name><part-abbreviation>Fl.</part-abbreviation></score-part>"
        "</part-list>"
    )
    abc = convert(note("C4", 8), note("G4", 8), head=head)
    assert abc == (
        "X:1\nT:Song\nC:A. Nonymous\nZ:Poet\nZ:CC0\nL:1/8\nM:4/4\nK:C\n"
        'V:1 treble nm="Flute" snm="Fl."\nV:1\n C8 | G8 | %2\n\n'
    )


def test_nameless_score_is_called_title():
    assert convert(note("C4")).startswith("X:1\nT:Title\nL:1/8\n")


def test_octaves():
    pitches = ("C2", "C3", "C4", "B4", "C5", "C6", "C7")
    assert body(convert("".join(note(p) for p in pitches))) == " C,,2 C,2 C2 B2 c2 c'2 c''2 |"


@pytest.mark.parametrize(
    ("duration", "length"), [(1, ""), (2, "2"), (3, "3"), (8, "8"), (0.5, "/"), (0.25, "/4")]
)
def test_lengths(duration, length):
    assert body(convert(note("A4", duration))) == f" A{length} |"


def test_a_measure_counts_in_its_last_divisions():
    change = "<attributes><divisions>8</divisions></attributes>"
    assert body(convert(note("A4", 2) + change + note("A4", 8))) == " A/ A2 |"


def test_beams_close_the_gap_and_rests_join_in():
    assert body(convert(beamed("C4", "D4", "E4", "F4") + note("G4"))) == " CDEF G2 |"
    inner = note("C4", 1, beam="begin") + note("rest", 1) + note("D4", 1, beam="end")
    assert body(convert(inner)) == " CzD |"


def test_broken_rhythm_only_under_a_beam():
    dotted = note("C4", 1.5, beam="begin") + note("D4", 0.5, beam="end")
    assert body(convert(dotted)) == " C>D |"
    snap = note("C4", 0.5, beam="begin") + note("D4", 1.5, beam="end")
    assert body(convert(snap)) == " C<D |"
    assert body(convert(note("C4", 1.5) + note("D4", 0.5))) == " C3/2 D/ |"


def test_chord_with_one_tied_note():
    tie = notations('<tied type="start"/>')
    assert body(convert(note("C4", 2, tie) + note("E4", 2, chord=True))) == " [C-E]2 |"
    assert body(convert(note("C4", 2, tie) + note("E4", 2, tie, chord=True))) == " [CE]2- |"


def test_accidentals_printed_added_and_left_out():
    """The second F# is in force; in the next bar it is not, and must be added."""
    sharp = note("F#4", 2, accidental="sharp")
    assert body(convert(sharp + note("F#4") + note("F4"), note("F#4"))) == " ^F2 F2 =F2 | ^F2 |"


def test_tied_note_needs_no_accidental():
    start = note("F#4", 2, notations('<tied type="start"/>'), accidental="sharp")
    stop = note("F#4", 2, notations('<tied type="stop"/>'))
    assert body(convert(start, stop)) == " ^F2- | F2 |"


def test_accidental_in_parentheses_is_a_courtesy():
    courtesy = '<accidental parentheses="yes">natural</accidental>'
    assert body(convert(note("F4", 2, courtesy))) == " !courtesy!=F2 |"


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("double-sharp", "^^"),
        ("flat-flat", "__"),
        ("natural-flat", "_"),
        ("quarter-sharp", "^/"),
        ("three-quarters-flat", "_3/2"),
        ("slash-quarter-sharp", "^/"),
        ("sharp-up", "^"),
        ("no-such-thing", ""),
        ("", ""),
    ],
)
def test_accidentals_by_name(name, sign):
    assert body(convert(note("G4", 2, accidental=name))) == f" {sign}G2 |"


def test_grace_notes():
    assert body(convert(grace("D5") + grace("E5") + note("C5"))) == "{de} c2 |"
    assert body(convert(grace("D5", slash="yes") + note("C5"))) == "{/d} c2 |"


SLUR = [notations(f'<slur type="{kind}"/>') for kind in ("start", "stop")]


def test_slur_of_a_grace_note():
    start, stop = SLUR
    lead = f"<note><grace/>{pitch_xml('D5')}{start}</note>"
    assert body(convert(lead + note("C5", 2, stop))) == "{d} c2 |"
    assert body(convert(lead + note("C5") + note("B4", 2, stop))) == "({d} c2 B2) |"


def test_slurs_only_within_a_voice():
    start, stop = SLUR
    assert body(convert(note("C4", 2, start) + note("D4", 2, stop))) == " (C2 D2) |"
    two = note("C4", 4, start, voice=1) + backup(4) + note("E3", 4, stop, voice=2)
    assert voices(convert(two)) == [" C4 |", " E,4 |"]


def test_decorations_in_order_of_their_names():
    signs = notations(
        "<fermata/>",
        "<articulations><tenuto/><staccato/><accent/></articulations>",
        "<ornaments><trill-mark/></ornaments>",
        "<technical><up-bow/><fingering>3</fingering></technical>",
        "<arpeggiate/>",
    )
    expected = " !arpeggio!!>!.!tenuto!!fermata!Tu!3!C2 |"
    assert body(convert(note("C4", 2, signs))) == expected


def test_tremolos():
    single = notations('<ornaments><tremolo type="single">3</tremolo></ornaments>')
    assert body(convert(note("C4", 2, single))) == " !///!C2 |"
    start = notations('<ornaments><tremolo type="start">2</tremolo></ornaments>')
    stop = notations('<ornaments><tremolo type="stop">2</tremolo></ornaments>')
    halved = in_tuplet(2, 1)
    pair = note("C4", 2, halved, start) + note("E4", 2, halved, stop)
    assert body(convert(pair)) == " !//-!C2 E2 |"


def triplet(*ends: tuple[str, ...]) -> str:
    """Quarter-note triplets; `ends` say which tuplets start or stop at each note."""
    kinds = {"start": '<tuplet type="start"/>', "stop": '<tuplet type="stop"/>'}
    return "".join(
        note("C4", "1.3333333", in_tuplet(3, 2), notations(*(kinds[e] for e in of_note)))
        for of_note in ends
    )


def test_triplet():
    assert body(convert(triplet(("start",), (), ("stop",)))) == " (3C2 C2 C2 |"


def test_tuplet_without_marks_lasts_as_long_as_its_ratio():
    plain = note("C4", "1.3333333", in_tuplet(3, 2))
    assert body(convert(plain * 6 + note("D4", 2))) == " (3:2:6C2 C2 C2 C2 C2 C2 D2 |"


def test_tuplet_with_other_ratio_or_count():
    five = note("C4", "0.8", in_tuplet(5, 4), notations('<tuplet type="start"/>'))
    five += note("C4", "0.8", in_tuplet(5, 4)) * 3
    five += note("C4", "0.8", in_tuplet(5, 4), notations('<tuplet type="stop"/>'))
    assert body(convert(five)) == " (5:4:5C C C C C |"


def test_holes_are_filled_and_tiny_ones_ignored():
    gap = note("C4", 2) + forward(2) + note("D4", 4)
    assert body(convert(gap)) == " C2 x2 D4 |"
    tiny = FOUR_FOUR.replace("<divisions>2<", "<divisions>480<")
    assert body(convert(note("C4", 480) + forward(30) + note("D4", 480), attributes=tiny)) == (
        " C2 D2 |"
    )


def test_second_voice_and_its_silence():
    abc = convert(
        note("C5", 8, voice=1) + backup(8) + forward(4) + note("E4", 4, voice=2),
        note("C5", 8, voice=1),
    )
    assert "%%score ( 1 2 )\n" in abc
    assert voices(abc) == [" c8 | c8 |", " x4 E4 | x8 |"]


def test_voice_of_rests_is_dropped():
    abc = convert(note("C5", 8, voice=1) + backup(8) + note("rest", 8, voice=2))
    assert "V:2" not in abc


def test_hidden_rest_and_stemless_note():
    hidden = '<note print-object="no"><rest/><duration>2</duration></note>'
    abc = convert(hidden + note("C4", 2, stem="none"))
    assert "U:s=!stemless!\n" in abc
    assert body(abc) == " x2 sC2 |"


def two_staves(inner: str) -> str:
    return convert(
        inner,
        attributes=FOUR_FOUR.replace(
            "<clef>",
            '<staves>2</staves><clef number="2"><sign>F</sign><line>4</line></clef><clef>',
        ),
    )


def test_piano_and_a_voice_that_changes_staff():
    right = note("C5", 8, voice=1, staff=1)
    left = note("C3", 2, voice=5, staff=2) * 2
    crossing = note("E4", 2, voice=5, staff=1) + note("C3", 2, voice=5, staff=2)
    abc = two_staves(right + backup(8) + left + crossing)
    assert "%%score { 1 | 2 }\n" in abc
    assert "V:1 treble \nV:2 bass \n" in abc
    assert voices(abc)[1] == " C,2 C,2[I:staff -1] E2[I:staff +1] C,2 |"


def test_octave_line_is_for_all_voices_of_a_staff():
    up = direction('<octave-shift type="down" size="8"/>')
    end = direction('<octave-shift type="stop" size="8"/>')
    first = up + note("C6", 4, voice=1) + end + note("C5", 4, voice=1)
    abc = convert(first + backup(8) + note("E4", 8, voice=2))
    assert voices(abc)[0] == "!8va(! c'4!8va)! c4 |"
    assert voices(abc)[1].count("8va") == 2


def test_key_meter_and_clef_changes():
    change = (
        "<attributes><key><fifths>-3</fifths><mode>minor</mode></key>"
        "<time><beats>3</beats><beat-type>4</beat-type></time>"
        "<clef><sign>C</sign><line>3</line></clef></attributes>"
    )
    assert (
        body(convert(note("C4", 8), change + note("C4", 6))) == " C8 |[K:Cmin][M:3/4][K:alto] C6 |"
    )


@pytest.mark.parametrize(
    ("sign", "line", "change", "name"),
    [("G", 2, -1, "treble-8"), ("F", 4, 0, "bass"), ("C", 4, 0, "tenor"), ("F", 3, 0, "bass3")],
)
def test_clefs(sign, line, change, name):
    """A clef that sounds an octave lower is written an octave higher."""
    clef = (
        f"<clef><sign>{sign}</sign><line>{line}</line>"
        f"<clef-octave-change>{change}</clef-octave-change></clef>"
    )
    abc = convert(
        note("C4", 8), attributes=f"<attributes><divisions>2</divisions>{clef}</attributes>"
    )
    assert f"V:1 {name} \n" in abc
    assert body(abc) == (" c8 |" if change else " C8 |")


def test_transposing_part_has_its_own_key():
    attributes = FOUR_FOUR.replace("<fifths>0", "<fifths>2").replace(
        "<clef>", "<transpose><chromatic>-2</chromatic></transpose><clef>"
    )
    abc = convert(note("D4", 8), attributes=attributes)
    assert "K:none\nV:1 treble transpose=-2 \n" in abc
    assert body(abc) == "[K:D] D8 |"


def test_meter_with_a_sum_and_without_beats():
    three_two = FOUR_FOUR.replace("<beats>4<", "<beats>3+2<").replace("type>4<", "type>8<")
    assert "\nM:3+2/8\n" in convert(note("C4", 5), attributes=three_two)
    free = "<attributes><divisions>2</divisions><time><senza-misura/></time></attributes>"
    assert "\nM:none\n" in convert(note("C4", 5), attributes=free)


def barline(inside: str, location: str = "right") -> str:
    return f'<barline location="{location}">{inside}</barline>'


def test_repeats_and_endings():
    forward_repeat = barline('<repeat direction="forward"/>', "left")
    backward = barline('<repeat direction="backward"/>')
    c = note("C4", 8)
    assert body(convert(forward_repeat + c + backward, c)) == "|: C8 :| C8 |"
    assert body(convert(c + backward, forward_repeat + c)) == " C8 :: C8 |"
    first = barline('<ending number="1" type="start"/>', "left")
    first_end = barline('<ending number="1" type="stop"/><repeat direction="backward"/>')
    second = barline('<ending number="2, 3" type="start"/>', "left")
    second_end = barline('<ending number="2, 3" type="stop"/>')
    endings = convert(c, first + c + first_end, second + c + second_end, c)
    assert body(endings) == " C8 |1 C8 :|2,3 C8 || C8 |"


def test_double_and_final_bar_lines():
    double = barline("<bar-style>light-light</bar-style>")
    final = barline("<bar-style>light-heavy</bar-style>")
    assert body(convert(note("C4", 8) + double, note("C4", 8) + final)) == " C8 || C8 |]"


def test_words_dynamics_and_hairpins():
    words = direction("<words>dolce </words>")
    below = direction('<words>say "yes"</words>', placement="below")
    loud = direction("<dynamics><f/></dynamics>")
    grow, stop = direction('<wedge type="crescendo"/>'), direction('<wedge type="stop"/>')
    text = words + loud + note("C4", 4) + grow + note("D4", 2) + stop + below + note("E4", 2)
    assert body(convert(text)) == '"^dolce"!f! C4!<(! D2!<)!"_say \\"yes\\"" E2 |'


def test_hairpin_that_ends_in_a_later_voice():
    """It ends in the voice it began in, behind the note that was there before it was read."""
    grow, stop = direction('<wedge type="crescendo"/>'), direction('<wedge type="stop"/>')
    first = grow + note("C5", 4, voice=1) + note("D5", 4, voice=1)
    second = note("E4", 4, voice=2) + stop + note("F4", 4, voice=2)
    assert voices(convert(first + backup(8) + second)) == ["!<(! c4 d4!<)! |", " E4 F4 |"]


@pytest.mark.parametrize("kind", ["start", "stop", "change", "resume", "discontinue", "sostenuto"])
def test_every_kind_of_pedal_converts(kind):
    pedal = (
        direction('<pedal type="start"/>') + note("C4", 4) + direction(f'<pedal type="{kind}"/>')
    )
    assert body(convert(pedal + note("D4", 4))).startswith("!ped! C4")


def test_pedal_changes():
    down, change = direction('<pedal type="start"/>'), direction('<pedal type="change"/>')
    up = direction('<pedal type="stop"/>')
    text = down + note("C4", 4) + change + note("D4", 4) + up
    assert body(convert(text)) == "!ped! C4!ped-up!!ped! D4!ped-up! |"


def test_tempo_in_header_and_inline():
    slow = direction(
        "<metronome><beat-unit>quarter</beat-unit><beat-unit-dot/>"
        "<per-minute>ca. 52.6</per-minute></metronome>"
    )
    fast = direction("<words>Presto</words>", '<sound tempo="180"/>')
    abc = convert(slow + note("C4", 8), fast + note("C4", 8))
    assert "\nQ:3/8=53\n" in abc
    assert body(abc) == ' C8 |[Q:1/4=180]"^Presto" C8 |'


def test_metronome_without_number():
    silent = direction("<metronome><beat-unit>half</beat-unit></metronome>")
    assert "Q:" not in convert(silent + note("C4", 8))
    sounding = direction(
        "<metronome><beat-unit>half</beat-unit></metronome>", '<sound tempo="60"/>'
    )
    assert "\nQ:1/2=60\n" in convert(sounding + note("C4", 8))


def test_jumps_take_the_place_of_their_words():
    fine = direction("<words>Fine</words>", '<sound fine="yes"/>')
    again = direction("<words>Da capo</words>", '<sound dacapo="yes"/>')
    assert body(convert(note("C4", 8) + fine, note("C4", 8) + again)) == " C8!fine! | C8!D.C.! |"


def test_chord_symbols():
    harmony = (
        "<harmony><root><root-step>B</root-step><root-alter>-1</root-alter></root>"
        "<kind>minor-seventh</kind><bass><bass-step>D</bass-step></bass></harmony>"
    )
    assert body(convert(harmony + note("C4", 8))) == '"Bbm7/D" C8 |'


def lyric(text: str, syllabic: str = "single", number: str = "1", more: str = "") -> str:
    return (
        f'<lyric number="{number}"><syllabic>{syllabic}</syllabic><text>{text}</text>{more}</lyric>'
    )


def words_of(abc: str) -> list[str]:
    return [line for line in abc.split("\n") if line.startswith("w:")]


def test_lyrics():
    text = (
        note("C4", 2, lyric("Glo", "begin"))
        + note("D4", 2)
        + note("E4", 2, lyric("ri-a x", "end", more="<extend/>"))
        + note("F4", 2)
    )
    assert words_of(convert(text, note("C4", 8), note("C4", 8))) == ["w: Glo- * ri\\-a~x _|_||"]


def test_named_and_broken_lyrics():
    text = note("C4", 8, lyric("one"), lyric("all\nnow", number="chorus"))
    assert words_of(convert(text)) == ["w: one|", "w: all~now|"]


def part(identity: str, pitch: str) -> str:
    return f'<part id="{identity}"><measure>{FOUR_FOUR}{note(pitch, 8)}</measure></part>'


def group(number: int, kind: str, symbol: str = "bracket", barline: str = "yes") -> str:
    if kind == "stop":
        return f'<part-group number="{number}" type="stop"/>'
    return (
        f'<part-group number="{number}" type="start"><group-symbol>{symbol}</group-symbol>'
        f"<group-barline>{barline}</group-barline></part-group>"
    )


def part_list(*inside: str) -> str:
    named = (
        f'<score-part id="{i}"><part-name>{i}</part-name></score-part>' if len(i) == 1 else i
        for i in inside
    )
    return f"<part-list>{''.join(named)}</part-list>"


BRACKET, CLOSED = group(1, "start"), group(1, "stop")
BRACE = group(1, "start", "brace")


@pytest.mark.parametrize(
    ("inside", "score"),
    [
        (["A", "B", "C"], "1 2 3"),
        ([BRACKET, "A", "B", CLOSED, "C"], "[ 1 | 2 ] 3"),
        ([group(1, "start", "brace", "no"), "A", "B", CLOSED, "C"], "{ 1 2 } 3"),
        ([BRACKET, "A", CLOSED, "B", "C"], "1 2 3"),
        (
            [BRACKET, group(2, "start", "brace", "no"), "A", "B", group(2, "stop"), "C", CLOSED],
            "[ { 1 | 2 } | 3 ]",
        ),
        (
            [BRACE, group(2, "start"), "A", "B", CLOSED, "C", group(2, "stop")],
            "[ { 1 | 2 } | 3 ]",
        ),
        ([BRACKET, "A", "B", "C"], "[ 1 | 2 | 3 ]"),
        (["A"], "1 2 3"),
    ],
    ids=["plain", "bracket", "brace", "single", "nested", "crossed", "unclosed", "unlisted"],
)
def test_score_brackets(inside, score):
    parts = (part("A", "C4"), part("B", "D4"), part("C", "E4"))
    assert f"%%score {score}\n" in convert_parts(*parts, head=part_list(*inside))


def test_repeated_part_id():
    abc = convert_parts(part("A", "C4"), part("A", "D4"), head=part_list("A"))
    assert voices(abc) == [" C8 |", " D8 |"]


def test_score_timewise():
    timewise = (
        '<score-timewise><measure><part id="A">{a1}</part><part id="B">{b1}</part></measure>'
        '<measure><part id="A">{a2}</part></measure></score-timewise>'
    )
    abc = musicxml_to_abc(
        timewise.format(
            a1=FOUR_FOUR + note("C4", 8), b1=FOUR_FOUR + note("D4", 8), a2=note("E4", 8)
        ).encode()
    )
    assert voices(abc) == [" C8 | E8 |", " D8 | |"]


def test_percussion_map():
    head = (
        '<part-list><score-part id="P1"><midi-instrument id="S"><midi-unpitched>39</midi-unpitched>'
        '</midi-instrument><midi-instrument id="H"><midi-unpitched>43</midi-unpitched>'
        "</midi-instrument></score-part></part-list>"
    )
    place = (
        "<unpitched><display-step>{}</display-step><display-octave>5</display-octave></unpitched>"
    )
    snare = f'<note>{place.format("C")}<duration>4</duration><instrument id="S"/></note>'
    hat = f'<note>{place.format("G")}<duration>4</duration><instrument id="H"/>'
    hat += "<notehead>x</notehead></note>"
    abc = convert(snare + hat, head=head)
    expected = "V:1 treble map=perc \nK:none\nI:percmap ^g g 42 x\nI:percmap c c 38 normal\n"
    assert expected in abc
    assert body(abc) == " c4 ^g4 |"


def test_sibelius_counts_voices_on_each_staff():
    head = "<identification><encoding><software>Sibelius 7.5</software></encoding></identification>"
    attributes = FOUR_FOUR.replace("<clef>", "<staves>2</staves><clef>")
    inner = note("C5", 8, voice=1, staff=1) + backup(8) + note("C3", 8, voice=1, staff=2)
    abc = convert(inner, head=head, attributes=attributes)
    assert voices(abc) == [" c8 |", " C,8 |"]


def test_lines_stay_below_a_hundred_characters():
    abc = convert(*[note("C4", 2) * 4 for _ in range(20)])
    music = [line for line in abc.split("\n") if " %" in line]
    assert len(music) > 1
    assert all(len(line.rpartition(" %")[0]) < 100 for line in music)
    assert music[-1].endswith(" %20")
