"""<direction>, <sound> and <harmony>: words, dynamics, spans, tempo, jumps, chord symbols."""

import re
from functools import partial
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.spans import SpanEnd

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
_ALTER = {"-1": "b", "1": "#"}
_KINDS = {
    "major": "",
    "minor": "m",
    "augmented": "+",
    "diminished": "dim",
    "dominant": "7",
    "half-diminished": "m7b5",
}
# Kinds of two words, such as minor-seventh, are spelt word by word.
_QUALITIES = {
    "major": "maj",
    "minor": "m",
    "augmented": "+",
    "diminished": "dim",
    "suspended": "sus",
}
_INTERVALS = {
    "second": "2",
    "fourth": "4",
    "sixth": "6",
    "seventh": "7",
    "ninth": "9",
    "11th": "11",
    "13th": "13",
}
# A ninth or a 13th implies the seventh, and a sixth is major without saying so.
_SHORTER = {"79": "9", "713": "13", "maj6": "6"}


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
            if kind.tag in _READERS:
                marks += _READERS[kind.tag](kind)
    if words.strip():
        marks.append(Mark(f'"{"_" if below else "^"}{words.strip()}"'))
    return marks


def _dynamics(element: Element) -> list[Mark]:
    found = {child.tag for child in element}
    return [Mark(f"!{name}!") for name in _DYNAMICS if name in found]


def _span(kind: str, names: dict[str, str], element: Element) -> list[SpanEnd]:
    name = names.get(element.get("type"))
    return [] if name is None else [SpanEnd(kind, element.get("number", "1"), name)]


def _pedal(element: Element) -> list[SpanEnd]:
    kind = element.get("type")
    down = SpanEnd("pedal", "1", "ped")
    up = SpanEnd("pedal", "1")
    ends = {"start": [down], "resume": [down], "stop": [up], "discontinue": [up]}
    return [up, down] if kind == "change" else ends.get(kind, [])


def _sign(text: str, element: Element) -> list[Mark]:
    return [Mark(text)]


_READERS = {
    "coda": partial(_sign, "O"),
    "dynamics": _dynamics,
    # Two octaves are written as one.
    "octave-shift": partial(_span, "octave", {"down": "8va", "up": "8vb", "stop": ""}),
    "pedal": _pedal,
    "segno": partial(_sign, "S"),
    "wedge": partial(_span, "wedge", {"crescendo": "<", "diminuendo": ">", "stop": ""}),
}


def chord_symbol(element: Element) -> str:
    """The symbol of a <harmony> in quotes; only its bass and kind if it has no root."""
    text = _pitch_name(element.find("root"), "root") + _quality(element)
    for long, short in _SHORTER.items():
        text = text.replace(long, short)
    bass = _pitch_name(element.find("bass"), "bass")
    return f'"{quoted(text + (bass and "/" + bass))}"'


def _quality(element: Element) -> str:
    """Kind and degrees: `m7b9`, `9sus4`."""
    kind = element.find("kind")
    name = (kind.text or "") if kind is not None else ""
    degrees = "".join(_degree(degree) for degree in element.findall("degree"))
    if name == "none":
        return kind.get("text", "") + degrees
    first, hyphen, second = name.partition("-")
    if name in _KINDS or not hyphen:
        return _KINDS.get(name, name) + degrees
    spelt = _QUALITIES.get(first, "") + _INTERVALS.get(second, "")
    return degrees + spelt if first == "suspended" else spelt + degrees


def _degree(element: Element) -> str:
    alter = _ALTER.get(element.findtext("degree-alter") or "", "")
    return alter + (element.findtext("degree-value") or "")


def _pitch_name(element: Element | None, prefix: str) -> str:
    if element is None:
        return ""
    step = element.findtext(f"{prefix}-step") or ""
    return step + _ALTER.get(element.findtext(f"{prefix}-alter") or "", "")


def quoted(text: str) -> str:
    """`text` fit to stand between double quotes."""
    return text.replace('"', '\\"').replace("\n", "\\n")
