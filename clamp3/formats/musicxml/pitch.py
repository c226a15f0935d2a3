"""Pitches in ABC letters, with the accidentals that ABC needs and MusicXML leaves out."""

from functools import lru_cache

from clamp3.formats.musicxml.notes import Note

_SHARPS = "FCGDAEB"
# The fraction after a sign is of a semitone; quarter tones are abcm2ps's spelling.
ACCIDENTALS = {
    "sharp": "^",
    "flat": "_",
    "natural": "=",
    "double-sharp": "^^",
    "sharp-sharp": "^^",
    "flat-flat": "__",
    "double-flat": "__",
    "natural-sharp": "^",
    "natural-flat": "_",
    "triple-sharp": "^^",
    "triple-flat": "__",
    "quarter-sharp": "^/",
    "quarter-flat": "_/",
    "three-quarters-sharp": "^3/2",
    "three-quarters-flat": "_3/2",
    "slash-quarter-sharp": "^/",
    "slash-sharp": "^3/2",
    "slash-flat": "_",
    "double-slash-flat": "_3/2",
    "sori": "^/",
    "koron": "_/",
}
_SEMITONES = {"=": 0, "^": 1, "_": -1, "^^": 2, "__": -2}
_BY_ALTER = {alter: sign for sign, alter in _SEMITONES.items()} | {3: "^^", -3: "__"}


@lru_cache(maxsize=1024)
def abc_letter(step: str, octave: int) -> str:
    """The ABC note name without accidental: C4 is `C`, C5 `c`, C6 `c'`, C3 `C,`."""
    if octave > 4:
        return step.lower() + "'" * (octave - 5)
    return step + "," * (4 - octave)


def key_alterations(fifths: int) -> dict[str, int]:
    """The alteration of each altered letter in a key signature."""
    if fifths >= 0:
        return dict.fromkeys(_SHARPS[:fifths], 1)
    return dict.fromkeys(_SHARPS[fifths:], -1)


class AccidentalMemory:
    """Which alterations are in force in the bar, per voice, letter and octave."""

    def __init__(self):
        self._bar: dict[tuple[str, str], int] = {}

    def start_bar(self) -> None:
        self._bar.clear()

    def sign(self, note: Note, letter: str, key: dict[str, int]) -> str:
        """The accidental to write before a note, which holds until the bar ends.

        A printed one is written as it is. One that is missing is added where the pitch would
        otherwise be read wrongly, except on a tied note.
        """
        place = note.voice, letter
        if note.accidental is not None:
            sign = ACCIDENTALS.get(note.accidental)
            if sign is None and note.accidental:
                sign = _nearest(note.accidental, note.alter)
            if sign:
                self._bar[place] = _SEMITONES.get(sign, note.alter)
                return sign
        in_force = self._bar.get(place)
        if in_force is None:
            in_force = key.get(note.step, 0)
        if note.alter == in_force or note.tie_stop:
            return ""
        self._bar[place] = note.alter
        return _BY_ALTER.get(note.alter, "")


def _nearest(name: str, alter: int) -> str:
    """A sign for an accidental ABC does not know: that of its pitch, else of its family."""
    family = {"sharp": "^", "flat": "_", "natural": "="}.get(name.split("-")[0], "")
    return _BY_ALTER.get(alter, family) if alter else family
