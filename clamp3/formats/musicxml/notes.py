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
        tag = child.tag
        if tag == "pitch":
            _read_pitch(note, child)
        elif tag == "duration":
            note.duration = read_positive(child.text)
        elif tag in _READERS:
            _READERS[tag](note, child)
    note.duration *= scale
    if note.step not in _STEPS:
        note.rest = True
    return note


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


@lru_cache(maxsize=1024)
def _read_unpitched(note: Note, element: Element) -> None:
    note.unpitched = True
    note.step = (element.findtext("display-step") or "E").strip()
    note.octave = _octave(element.findtext("display-octave") or "5")


def _read_rest(note: Note, element: Element) -> None:
    note.rest = True


def _read_chord(note: Note, element: Element) -> None:
    note.chord = True


def _read_duration(note: Note, element: Element) -> None:
    note.duration = read_positive(element.text)


def _read_voice(note: Note, element: Element) -> None:
    note.voice = (element.text or "").strip() or "1"


def _read_staff(note: Note, element: Element) -> None:
    note.staff = read_int(element.text, 1)


def _read_beam(note: Note, element: Element) -> None:
    note.beam = note.beam or (element.text or "").strip()


def _read_instrument(note: Note, element: Element) -> None:
    note.instrument = element.get("id", "")


def _read_notehead(note: Note, element: Element) -> None:
    note.notehead = (element.text or "").strip().replace(" ", "-")
    note.notehead_filled = element.get("filled", "")


def _read_grace(note: Note, element: Element) -> None:
    note.grace = True
    note.slash = element.get("slash") == "yes"


def _read_accidental(note: Note, element: Element) -> None:
    note.accidental = (element.text or "").strip()
    note.courtesy = element.get("parentheses") == "yes"


def _read_tie(note: Note, element: Element) -> None:
    note.tie_start = note.tie_start or element.get("type") == "start"
    note.tie_stop = note.tie_stop or element.get("type") == "stop"


def _read_stem(note: Note, element: Element) -> None:
    if note.stemless is None:
        note.stemless = (element.text or "").strip() == "none"


def _read_lyric(note: Note, element: Element) -> None:
    note.lyrics = (*note.lyrics, element)


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


_READERS = {
    "accidental": _read_accidental,
    "beam": _read_beam,
    "chord": _read_chord,
    "duration": _read_duration,
    "grace": _read_grace,
    "instrument": _read_instrument,
    "lyric": _read_lyric,
    "notations": _read_notations,
    "notehead": _read_notehead,
    "pitch": _read_pitch,
    "rest": _read_rest,
    "staff": _read_staff,
    "stem": _read_stem,
    "tie": _read_tie,
    "time-modification": _read_time_modification,
    "unpitched": _read_unpitched,
    "voice": _read_voice,
}
