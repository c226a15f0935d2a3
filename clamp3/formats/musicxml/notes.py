"""One <note>, read in a single pass over its children."""

from fractions import Fraction
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.notations import Notations, read_notations
from clamp3.formats.musicxml.numbers import read_duration, read_int

NO_NOTATIONS = Notations()


class Note:
    """What the writer needs of one <note>; durations in the document's divisions."""

    __slots__ = (
        "accidental",
        "alter",
        "beam",
        "chord",
        "courtesy",
        "cue",
        "duration",
        "grace",
        "lyrics",
        "normal",
        "notations",
        "octave",
        "ratio",
        "rest",
        "shown",
        "slash",
        "tie_start",
        "tie_stop",
        "staff",
        "step",
        "stemless",
        "unpitched",
        "voice",
    )

    def __init__(self):
        self.accidental = None
        self.alter = 0
        self.beam = ""
        self.chord = False
        self.courtesy = False
        self.cue = False
        self.duration = 0
        self.grace = False
        self.lyrics = ()
        self.notations = NO_NOTATIONS
        self.octave = 4
        self.ratio = None
        self.rest = False
        self.shown = True
        self.slash = False
        self.tie_start = False
        self.tie_stop = False
        self.staff = 1
        self.step = ""
        self.stemless = False
        self.unpitched = False
        self.voice = "1"


def read_note(element: Element, scale: int) -> Note:
    """The Note of a <note> element; its duration is multiplied by `scale`."""
    note = Note()
    note.shown = element.get("print-object") != "no"
    lyrics = []
    for child in element:
        tag = child.tag
        if tag == "pitch":
            _read_pitch(note, child)
        elif tag == "duration":
            note.duration = read_duration(child.text) * scale
        elif tag == "voice":
            note.voice = (child.text or "").strip() or "1"
        elif tag == "staff":
            note.staff = read_int(child.text, 1)
        elif tag == "beam":
            note.beam = note.beam or (child.text or "").strip()
        elif tag == "notations":
            first = note.notations is NO_NOTATIONS
            note.notations = read_notations(child, None if first else note.notations)
            note.tie_start = note.tie_start or note.notations.tie_start
            note.tie_stop = note.tie_stop or note.notations.tie_stop
        elif tag == "lyric":
            lyrics.append(child)
        elif tag in _READERS:
            _READERS[tag](note, child)
    if lyrics:
        note.lyrics = lyrics
    return note


def _read_pitch(note: Note, element: Element) -> None:
    for child in element:
        tag = child.tag
        if tag == "step":
            note.step = (child.text or "").strip().upper()
        elif tag == "octave":
            note.octave = read_int(child.text, 4)
        elif tag == "alter":
            note.alter = _read_alter(child.text)


def _read_alter(text: str | None) -> int:
    """Semitones; a quarter tone keeps its half as rounded towards zero."""
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


def _read_unpitched(note: Note, element: Element) -> None:
    note.unpitched = True
    for child in element:
        if child.tag == "display-step":
            note.step = (child.text or "").strip().upper()
        elif child.tag == "display-octave":
            note.octave = read_int(child.text, 4)


def _read_rest(note: Note, element: Element) -> None:
    note.rest = True


def _read_chord(note: Note, element: Element) -> None:
    note.chord = True


def _read_grace(note: Note, element: Element) -> None:
    note.grace = True
    note.slash = element.get("slash") == "yes"


def _read_cue(note: Note, element: Element) -> None:
    note.cue = True


def _read_accidental(note: Note, element: Element) -> None:
    note.accidental = (element.text or "").strip()
    note.courtesy = element.get("parentheses") == "yes"


def _read_tie(note: Note, element: Element) -> None:
    if element.get("type") == "start":
        note.tie_start = True
    elif element.get("type") == "stop":
        note.tie_stop = True


def _read_stem(note: Note, element: Element) -> None:
    note.stemless = (element.text or "").strip() == "none"


def _read_time_modification(note: Note, element: Element) -> None:
    actual = read_int(element.findtext("actual-notes"), 1)
    normal = read_int(element.findtext("normal-notes"), 1)
    if actual > 0 and normal > 0:
        note.ratio = Fraction(actual, normal), actual, normal


_READERS = {
    "accidental": _read_accidental,
    "chord": _read_chord,
    "cue": _read_cue,
    "grace": _read_grace,
    "rest": _read_rest,
    "stem": _read_stem,
    "tie": _read_tie,
    "time-modification": _read_time_modification,
    "unpitched": _read_unpitched,
}
