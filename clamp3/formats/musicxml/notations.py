"""ABC decorations for what MusicXML hangs on a note in <notations>."""

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.numbers import read_int

# The order in which decorations are written is that of these names.
DECORATIONS = {
    "arpeggiate": "!arpeggio!",
    "articulations/accent": "!>!",
    "articulations/breath-mark": "!breath!",
    "articulations/detached-legato": "!tenuto!.",
    "articulations/scoop": "!slide!",
    "articulations/spiccato": "!wedge!",
    "articulations/staccatissimo": "!wedge!",
    "articulations/staccato": ".",
    "articulations/strong-accent": "!^!",
    "articulations/tenuto": "!tenuto!",
    "fermata": "!fermata!",
    "ornaments/inverted-mordent": "P",
    "ornaments/inverted-turn": "!invertedturn!",
    "ornaments/mordent": "M",
    "ornaments/trill-mark": "T",
    "ornaments/turn": "!turn!",
    "technical/down-bow": "v",
    "technical/harmonic": "!open!",
    "technical/open-string": "!open!",
    "technical/snap-pizzicato": "!snap!",
    "technical/stopped": "!plus!",
    "technical/thumb-position": "!thumb!",
    "technical/up-bow": "u",
}
_WAVES = {"start": "!trill(!", "stop": "!trill)!"}
_CONTAINERS = {"articulations", "ornaments", "technical"}


@dataclass(slots=True, eq=False)
class Notations:
    """The notations of one note, sorted into what ABC writes where.

    spans        glissando or slide, wavy line and tremolo: right behind an opening slur
    paired       whether the note is one of two that a tremolo alternates
    decorations  before the note, in order, each once
    fingerings   after the decorations
    string       the string it is played on, for tablature
    slurs        (type, number) in document order
    tuplets      the <tuplet> elements in document order
    """

    decorations: list[str] = field(default_factory=list)
    fingerings: list[str] = field(default_factory=list)
    paired: bool = False
    slurs: list[tuple[str, str]] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    string: str = ""
    tie_start: bool = False
    tie_stop: bool = False
    tuplets: list[Element] = field(default_factory=list)


def read_notations(element: Element, found: Notations | None = None) -> Notations:
    """What one <notations> says; of a second one only slurs, ties and tuplets count."""
    if found is not None:
        for child in element:
            _read_link(found, child.tag, child)
        return found
    found = Notations()
    names = set()
    for child in element:
        if child.tag in _CONTAINERS:
            for grandchild in child:
                _read_one(found, names, f"{child.tag}/{grandchild.tag}", grandchild)
        else:
            _read_one(found, names, child.tag, child)
    found.decorations = [DECORATIONS[name] for name in sorted(names)]
    found.spans = _spans(element) + found.spans
    return found


def _spans(element: Element) -> list[str]:
    """The first slide, where a glissando comes before others, and the first wavy line."""
    spans = []
    slide = element.find("glissando")
    slide = element.find("slide") if slide is None else slide
    if slide is not None:
        line = "~" if slide.get("line-type") == "wavy" else "-"
        spans.append(f"!{line}(!" if slide.get("type") == "start" else f"!{line})!")
    waves = [_WAVES.get(wave.get("type")) for wave in element.iterfind("ornaments/wavy-line")]
    return spans + [wave for wave in waves if wave][:1]


def _read_one(found: Notations, names: set[str], name: str, element: Element) -> None:
    if name in DECORATIONS:
        names.add(name)
        return
    match name:
        case "technical/fingering":
            found.fingerings.append(f"!{element.text}!")
        case "technical/string":
            found.string = f"!{element.text}!"
        case "ornaments/tremolo":
            _read_tremolo(found, element)
        case _:
            _read_link(found, name, element)


def _read_link(found: Notations, name: str, element: Element) -> None:
    kind = element.get("type", "")
    match name:
        case "slur":
            found.slurs.append((kind, element.get("number", "1")))
        case "tied":
            found.tie_start = found.tie_start or kind == "start"
            found.tie_stop = found.tie_stop or kind == "stop"
        case "tuplet":
            found.tuplets.append(element)


def _read_tremolo(found: Notations, element: Element) -> None:
    text = (element.text or "").strip()
    strokes = "/" * min(read_int(text, 0), 8) if text.isdecimal() else ""
    found.paired = element.get("type") in ("start", "stop")
    if strokes and element.get("type") == "start":
        found.spans = [f"!{strokes}-!"]
    elif strokes and element.get("type") == "single":
        found.spans = [f"!{strokes}!"]
