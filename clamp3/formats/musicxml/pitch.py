"""Pitches in ABC letters, with the accidentals that ABC needs and MusicXML leaves out."""

SHARP_ORDER = "FCGDAEB"
ACCIDENTALS = {
    "sharp": "^",
    "flat": "_",
    "natural": "=",
    "double-sharp": "^^",
    "sharp-sharp": "^^",
    "flat-flat": "__",
    "double-flat": "__",
}
_BY_ALTER = {0: "=", 1: "^", -1: "_", 2: "^^", -2: "__"}


def abc_letter(step: str, octave: int) -> str:
    """The ABC note name without accidental: C4 is `C`, C5 `c`, C6 `c'`, C3 `C,`."""
    if octave > 4:
        return step.lower() + "'" * (octave - 5)
    return step + "," * (4 - octave)


def key_alterations(fifths: int) -> dict[str, int]:
    """The alteration of each altered letter in a key signature."""
    if fifths >= 0:
        return dict.fromkeys(SHARP_ORDER[:fifths], 1)
    return dict.fromkeys(SHARP_ORDER[fifths:], -1)


class AccidentalMemory:
    """Which alterations are in force in the bar, per voice, letter and octave."""

    def __init__(self):
        self.key: dict[str, int] = {}
        self._bar: dict[tuple[str, str], int] = {}

    def start_bar(self) -> None:
        self._bar.clear()

    def sign(self, note, letter: str) -> str:
        """The accidental to write before a note, which is remembered until the bar ends."""
        place = (note.voice, letter)
        if note.accidental is not None:
            sign = ACCIDENTALS.get(note.accidental)
            if sign is not None:
                self._bar[place] = note.alter
                return sign
        in_force = self._bar.get(place)
        if in_force is None:
            in_force = self.key.get(note.step, 0)
        if note.alter == in_force or note.tie_stop:
            return ""
        self._bar[place] = note.alter
        return _BY_ALTER.get(note.alter, "")
