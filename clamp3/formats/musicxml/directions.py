"""<direction> and <sound>: words, dynamics, hairpins, pedal, octave lines, tempo, jumps."""

import re
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.spans import SpanEnd
from clamp3.formats.musicxml.text import quoted

# Several in one <dynamics> are written in this order.
_DYNAMICS = ("p", "pp", "ppp", "pppp", "f", "ff", "fff", "ffff", "mp", "mf", "sfz")
# Of several in one <sound> the first holds.
_JUMPS = {
    "dacapo": "!D.C.!",
    "dalsegno": "!D.S.!",
    "tocoda": "!dacoda!",
    "fine": "!fine!",
    "coda": "!O!",
    "segno": "!S!",
}
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
# Any other beat is written as a quarter.
_BEATS = {"whole": (1, 1), "half": (1, 2), "quarter": (1, 4), "eighth": (1, 8)}


class Mark:
    """Text between the notes."""

    __slots__ = ("text",)
    is_grace = False

    def __init__(self, text: str):
        self.text = text


def read_tempo(element: Element) -> str:
    """`1/4=120` from a direction's metronome or sound, or from a <sound>; empty if none."""
    sound = element if element.tag == "sound" else element.find("sound")
    upper, lower = 1, 4
    number = sound.get("tempo") if sound is not None else None
    metronome = element.find("direction-type/metronome")
    if metronome is not None:
        beat_unit = (metronome.findtext("beat-unit") or "").strip()
        upper, lower = _BEATS.get(beat_unit, (upper, lower))
        if metronome.find("beat-unit-dot") is not None:
            upper, lower = 3 * upper, 2 * lower
        number = _first_number(metronome.findtext("per-minute")) or number
    return _tempo(upper, lower, number) if number else ""


def _first_number(text: str | None) -> str:
    """The digits of `ca. 72` and the like."""
    found = _NUMBER.search(text or "")
    return found.group() if found else ""


def _tempo(upper: int, lower: int, number: str) -> str:
    try:
        return f"{upper}/{lower}={round(float(number))}"
    except (ValueError, OverflowError):
        return ""


def _read_jump(direction: Element) -> str:
    """Da capo and the like, which a direction's <sound> tells; empty if none."""
    sound = direction.find("sound")
    if sound is None:
        return ""
    return next((mark for name, mark in _JUMPS.items() if sound.get(name)), "")


def read_marks(direction: Element) -> list[Mark | SpanEnd]:
    """The marks of a <direction> in document order, but words last.

    Words that stand for a jump become its sign.
    """
    marks = []
    words = ""
    jump = _read_jump(direction)
    below = direction.get("placement") == "below"
    for kind in direction.iterfind("direction-type/*"):
        if kind.tag in ("words", "rehearsal"):
            if jump:
                marks.append(Mark(jump))
                continue
            words += quoted(kind.text or "")
            below = below or kind.get("default-y", "").startswith("-")
        else:
            words = words.rstrip()
            marks += _READERS.get(kind.tag, _ignore)(kind)
    if words.strip():
        marks.append(Mark(f'"{"_" if below else "^"}{words.strip()}"'))
    return marks


def _ignore(element: Element) -> list[Mark | SpanEnd]:
    return []


def _dynamics(element: Element) -> list[Mark | SpanEnd]:
    found = {child.tag for child in element}
    return [Mark(f"!{name}!") for name in _DYNAMICS if name in found]


def _wedge(element: Element) -> list[Mark | SpanEnd]:
    names = {"crescendo": "<", "diminuendo": ">", "stop": ""}
    kind = element.get("type")
    return [SpanEnd("wedge", element.get("number", "1"), names[kind])] if kind in names else []


def _octave_shift(element: Element) -> list[Mark | SpanEnd]:
    """Two octaves are written as one."""
    names = {"down": "8va", "up": "8vb", "stop": ""}
    kind = element.get("type")
    return [SpanEnd("octave", element.get("number", "1"), names[kind])] if kind in names else []


def _pedal(element: Element) -> list[Mark | SpanEnd]:
    kind = element.get("type")
    down = SpanEnd("pedal", "1", "ped")
    up = SpanEnd("pedal", "1")
    ends = {"start": [down], "resume": [down], "stop": [up], "discontinue": [up]}
    return [up, down] if kind == "change" else ends.get(kind, [])


def _segno(element: Element) -> list[Mark | SpanEnd]:
    return [Mark("S")]


def _coda(element: Element) -> list[Mark | SpanEnd]:
    return [Mark("O")]


_READERS = {
    "coda": _coda,
    "dynamics": _dynamics,
    "octave-shift": _octave_shift,
    "pedal": _pedal,
    "segno": _segno,
    "wedge": _wedge,
}
