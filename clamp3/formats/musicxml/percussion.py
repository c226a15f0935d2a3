"""Unpitched notes: which sign stands for which drum."""

from clamp3.formats.musicxml.notes import Note

# Diatonic steps from the middle line of a clef up to that of treble, where percmap counts.
_STEPS_TO_TREBLE = {"bass": 12, "alto": 6, "tenor": 8}
_ONE_LINE_STEPS = 4
_LETTERS = "CDEFGAB"


class PercussionMap:
    """The drums of one part, for the `I:percmap` lines of its voices.

    `drums` maps the score's instrument ids to MIDI keys.
    """

    def __init__(self, drums: dict[str, int]):
        self._drums = drums
        self._used: dict[str, dict[str, tuple[Note, str]]] = {}

    def sign(self, note: Note, letter: str) -> str:
        """The accidental that tells a notehead from others: `^` filled, `_` hollow."""
        hollow = note.notehead_filled == "no"
        marks = {"": "", "yes": "+", "no": "-"}
        head = note.notehead or "normal"
        sign = "" if head == "normal" else "_" if hollow else "^"
        name = head + marks.get(note.notehead_filled, "")
        self._used.setdefault(note.voice, {}).setdefault(sign + letter, (note, name))
        return sign

    def lines(self, voice: str, clef: str, one_line: bool) -> list[str]:
        """The `I:percmap` lines of a voice, by note."""
        steps = _ONE_LINE_STEPS if one_line else _STEPS_TO_TREBLE.get(clef, 0)
        found = []
        for letter, (note, name) in sorted(self._used.get(voice, {}).items()):
            place = _LETTERS.find(note.step) + 7 * note.octave + steps
            position = _treble_name(place)
            found.append(f"I:percmap {letter} {position} {self._drums[note.instrument]} {name}")
        return found


def _treble_name(place: int) -> str:
    octave, step = divmod(place, 7)
    letter = _LETTERS[step]
    return letter.lower() + "'" * (octave - 5) if octave > 4 else letter + "," * (4 - octave)
