"""Unpitched notes: which sign stands for which drum."""

from clamp3.formats.musicxml.notes import Note
from clamp3.formats.musicxml.pitch import abc_letter

# Diatonic steps from the middle line of a clef up to that of treble, where percmap counts.
_BASS_STEPS = 12
_ONE_LINE_STEPS = 4
_LETTERS = "CDEFGAB"
_SEMITONES = (0, 2, 4, 5, 7, 9, 11)
# Heads that ABC tells from others by an accidental, which takes the place of a sharp or flat.
_HEAD_SIGNS = {"x": "^", "circle-x": "_", "diamond": "_", "triangle": "_"}
_WITHOUT_SHARPS_AND_FLATS = str.maketrans("", "", "^_")


class PercussionMap:
    """The drums of one part, for the `I:percmap` lines of its voices.

    `drums` maps the score's instrument ids to MIDI keys; other drums sound as they are written.
    """

    def __init__(self, drums: dict[str, int]):
        self._drums = drums
        self._used: dict[str, dict[str, tuple[Note, int, str]]] = {}

    def sign(self, note: Note, octave: int, accidental: str, letter: str) -> str:
        """The accidental of an unpitched note, which also tells its head from others."""
        written = _written_key(note.step, octave, accidental)
        name = (note.notehead or "normal") + {"yes": "+", "no": "-"}.get(note.notehead_filled, "")
        sign = accidental
        if note.notehead in _HEAD_SIGNS:
            plain = accidental.translate(_WITHOUT_SHARPS_AND_FLATS)
            sign = _HEAD_SIGNS[note.notehead] + plain
        key = self._drums.get(note.instrument, written)
        used = self._used.setdefault(note.voice, {})
        plain_head = note.notehead in ("", "normal")
        used[sign + letter] = note, key, "" if key == written and plain_head else name
        return sign

    def maps(self, voice: str) -> bool:
        """Whether a voice has unpitched notes."""
        return voice in self._used

    def lines(self, voice: str, clef: str, *, one_line: bool) -> list[str]:
        """The `I:percmap` lines of a voice, by note, less those that say nothing new."""
        steps = _ONE_LINE_STEPS if one_line else _BASS_STEPS if clef.startswith("bass") else 0
        found = []
        for letter, (note, key, name) in sorted(self._used.get(voice, {}).items()):
            octave, step = divmod(_LETTERS.find(note.step) + 7 * note.octave + steps, 7)
            position = abc_letter(_LETTERS[step], octave)
            if name or letter != position:
                found.append(f"I:percmap {letter} {position} {key} {name or 'normal'}")
        return found


def _written_key(step: str, octave: int, accidental: str) -> int:
    """The MIDI key of a note as it is written."""
    alteration = accidental.count("^") - accidental.count("_")
    return 12 * (octave + 1) + _SEMITONES[_LETTERS.find(step)] + alteration
