"""One <note>, read in a single pass over its children."""

from fractions import Fraction
from functools import lru_cache
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.notations import Notations, read_notations
from clamp3.formats.musicxml.numbers import read_int, read_number, read_positive

NO_NOTATIONS = Notations()
_STEPS = frozenset("ABCDEFG")
_LOWEST_OCTAVE, _HIGHEST_OCTAVE = -2, 12


class Note:
    """What the writer needs of one <note>; the duration is in ticks.

    alter        semitones; what is beyond a whole one only an accidental tells
    accidental   the printed accidental's name; None if none is printed
    ratio        (actual, normal) notes of its <time-modification>
    shown        False for print-object="no"
    stemless     whether its stem is left out; None if nothing is said about it
    """

    # Defaults live in the class: a score has half a million notes, and most differ in little.
    accidental: str | None = None
    alter = 0
    beam = ""
    chord = False
    courtesy = False
    duration: int | Fraction = 0
    grace = False
    instrument = ""
    lyrics: tuple[Element, ...] = ()
    notations = NO_NOTATIONS
    notehead = ""
    notehead_filled = ""
    octave = 4
    ratio: tuple[int, int] | None = None
    rest = False
    shown = True
    slash = False
    staff = 1
    stemless: bool | None = None
    step = ""
    tie_start = False
    tie_stop = False
    unpitched = False
    voice = "1"


def read_note(element: Element, scale: int | Fraction) -> Note:
    """The Note of a <note> element; `scale` is ticks per division.

    A note without a pitch that can be read is a rest.
    """
    note = Note()
    if element.get("print-object") == "no":
        note.shown = False
    for child in element:
        _read_child(note, child)
    note.duration *= scale
    if note.step not in _STEPS:
        note.rest = True
    return note


def _read_child(note: Note, child: Element) -> None:
    match child.tag:
        case "pitch":
            _read_pitch(note, child)
        case "duration":
            note.duration = read_positive(child.text)
        case "voice":
            note.voice = _stripped(child) or "1"
        case "stem" if note.stemless is None:
            note.stemless = _stripped(child) == "none"
        case "staff":
            note.staff = read_int(child.text, 1)
        case "beam":
            note.beam = note.beam or _stripped(child)
        case "notations":
            _read_notations(note, child)
        case "chord":
            note.chord = True
        case "rest":
            note.rest = True
        case "tie":
            note.tie_start = note.tie_start or child.get("type") == "start"
            note.tie_stop = note.tie_stop or child.get("type") == "stop"
        case "accidental":
            note.accidental = _stripped(child)
            note.courtesy = child.get("parentheses") == "yes"
        case "lyric":
            note.lyrics = (*note.lyrics, child)
        case "time-modification":
            _read_time_modification(note, child)
        case "grace":
            note.grace = True
            note.slash = child.get("slash") == "yes"
        case "unpitched":
            note.unpitched = True
            note.step = (child.findtext("display-step") or "E").strip()
            note.octave = _octave(child.findtext("display-octave") or "5")
        case "instrument":
            note.instrument = child.get("id", "")
        case "notehead":
            note.notehead = _stripped(child).replace(" ", "-")
            note.notehead_filled = child.get("filled", "")


def _stripped(element: Element) -> str:
    return (element.text or "").strip()


def _read_pitch(note: Note, element: Element) -> None:
    for child in element:
        tag = child.tag
        if tag == "step":
            note.step = (child.text or "").strip()
        elif tag == "octave":
            note.octave = _octave(child.text)
        elif tag == "alter":
            note.alter = int(read_number(child.text))


@lru_cache(maxsize=1024)
def _octave(text: str | None) -> int:
    return min(max(read_int(text, 4), _LOWEST_OCTAVE), _HIGHEST_OCTAVE)


def _read_time_modification(note: Note, element: Element) -> None:
    actual = read_int(element.findtext("actual-notes"), 0)
    normal = read_int(element.findtext("normal-notes"), 0)
    if note.ratio is None and actual > 0 and normal > 0:
        note.ratio = actual, normal


def _read_notations(note: Note, element: Element) -> None:
    first = note.notations is NO_NOTATIONS
    note.notations = read_notations(element, None if first else note.notations)
    note.tie_start = note.tie_start or note.notations.tie_start
    note.tie_stop = note.tie_stop or note.notations.tie_stop
