"""<direction> and <sound>: words, dynamics, hairpins, pedal, octave lines, tempo, jumps."""

from xml.etree.ElementTree import Element

DYNAMICS = {"pppp", "ppp", "pp", "p", "mp", "mf", "f", "ff", "fff", "ffff", "sfz"}
_JUMPS = {"dacapo": "!D.C.!", "dalsegno": "!D.S.!", "tocoda": "!dacoda!", "fine": "!fine!"}
_BEATS = {
    "long": (4, 1),
    "breve": (2, 1),
    "whole": (1, 1),
    "half": (1, 2),
    "quarter": (1, 4),
    "eighth": (1, 8),
    "16th": (1, 16),
    "32nd": (1, 32),
    "64th": (1, 64),
}


class Mark:
    """Text between the notes; a hairpin's text is known only once both its ends are."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text


class Spans:
    """Hairpins and octave lines that are open in one part."""

    def __init__(self):
        self._open: dict[tuple[str, str], str] = {}
        self._waiting: dict[tuple[str, str], Mark] = {}

    def start(self, kind: str, number: str, name: str) -> Mark:
        """The opening mark; closes a stop that came before it."""
        waiting = self._waiting.pop((kind, number), None)
        if waiting is not None:
            waiting.text = f"!{name})!"
        else:
            self._open[kind, number] = name
        return Mark(f"!{name}(!")

    def stop(self, kind: str, number: str) -> Mark:
        """The closing mark; empty until its start turns up."""
        name = self._open.pop((kind, number), None)
        if name is not None:
            return Mark(f"!{name})!")
        return self._waiting.setdefault((kind, number), Mark(""))


def quoted(text: str) -> str:
    """`text` fit to stand between double quotes."""
    return text.replace('"', '\\"').replace("\n", "\\n")


def read_tempo(element: Element) -> str:
    """`1/4=120` from a direction's metronome or sound, or from a <sound>; empty if none."""
    sound = element if element.tag == "sound" else element.find("sound")
    tempo = ""
    if sound is not None and sound.get("tempo"):
        tempo = _tempo(1, 4, sound.get("tempo"))
    metronome = element.find("direction-type/metronome")
    if metronome is not None:
        beat = _BEATS.get((metronome.findtext("beat-unit") or "").strip())
        number = metronome.findtext("per-minute")
        if beat and number:
            upper, lower = beat
            if metronome.find("beat-unit-dot") is not None:
                upper, lower = 3 * upper, 2 * lower
            tempo = _tempo(upper, lower, number) or tempo
    return tempo


def _tempo(upper: int, lower: int, number: str) -> str:
    try:
        return f"{upper}/{lower}={round(float(number))}"
    except (ValueError, OverflowError):
        return ""


def read_jumps(element: Element) -> list[str]:
    """Da capo and the like from a <sound>."""
    return [mark for name, mark in _JUMPS.items() if element.get(name)]


def read_marks(direction: Element, spans: Spans) -> list[Mark]:
    """The marks of a <direction> in document order."""
    marks = []
    words = ""
    below = direction.get("placement") == "below"
    for kind in direction.iterfind("direction-type/*"):
        if kind.tag in ("words", "rehearsal"):
            words += quoted(kind.text or "").strip()
            below = below or kind.get("default-y", "").startswith("-")
        else:
            marks += _READERS.get(kind.tag, _ignore)(kind, spans)
    sound = direction.find("sound")
    jumps = read_jumps(sound) if sound is not None else []
    if jumps:
        marks += [Mark(text) for text in jumps]
    elif words:
        marks.append(Mark(f'"{"_" if below else "^"}{words}"'))
    return marks


def _ignore(element: Element, spans: Spans) -> list[Mark]:
    return []


def _dynamics(element: Element, spans: Spans) -> list[Mark]:
    return [Mark(f"!{child.tag}!") for child in element if child.tag in DYNAMICS]


def _wedge(element: Element, spans: Spans) -> list[Mark]:
    number = element.get("number", "1")
    kind = element.get("type")
    if kind == "stop":
        return [spans.stop("wedge", number)]
    if kind in ("crescendo", "diminuendo"):
        return [spans.start("wedge", number, "<" if kind == "crescendo" else ">")]
    return []


def _octave_shift(element: Element, spans: Spans) -> list[Mark]:
    number = element.get("number", "1")
    if element.get("type") == "stop":
        return [spans.stop("octave", number)]
    size = "15m" if element.get("size") == "15" else "8v"
    name = size + ("a" if element.get("type") == "down" else "b")
    return [spans.start("octave", number, name)]


def _pedal(element: Element, spans: Spans) -> list[Mark]:
    kind = element.get("type")
    marks = {"start": "!ped!", "resume": "!ped!", "stop": "!ped-up!", "discontinue": "!ped-up!"}
    if kind == "change":
        return [Mark("!ped-up!"), Mark("!ped!")]
    return [Mark(marks[kind])] if kind in marks else []


def _segno(element: Element, spans: Spans) -> list[Mark]:
    return [Mark("S")]


def _coda(element: Element, spans: Spans) -> list[Mark]:
    return [Mark("O")]


_READERS = {
    "coda": _coda,
    "dynamics": _dynamics,
    "octave-shift": _octave_shift,
    "pedal": _pedal,
    "segno": _segno,
    "wedge": _wedge,
}
