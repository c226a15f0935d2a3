"""ABC decorations for what MusicXML hangs on a note in <notations>."""

from xml.etree.ElementTree import Element

ARTICULATIONS = {
    "accent": "!>!",
    "strong-accent": "!^!",
    "staccato": ".",
    "tenuto": "!tenuto!",
    "staccatissimo": "!wedge!",
    "spiccato": "!wedge!",
    "breath-mark": "!breath!",
}
ORNAMENTS = {
    "trill-mark": "T",
    "turn": "!turn!",
    "inverted-turn": "!invertedturn!",
    "mordent": "M",
    "inverted-mordent": "P",
}
TECHNICAL = {
    "up-bow": "u",
    "down-bow": "v",
    "harmonic": "!open!",
    "open-string": "!open!",
    "thumb-position": "!thumb!",
    "stopped": "!plus!",
    "snap-pizzicato": "!snap!",
}


class Notations:
    """The notations of one note, sorted into what ABC writes where.

    decorations  before the note, in order
    spans        glissandos and wavy lines, before the decorations
    fingerings   after the decorations
    slurs        (type, number) in document order
    tuplets      (type, number, actual or None, normal or None) in document order
    tied         True, False or None (no <tied> at all): whether a tie starts
    """

    __slots__ = ("decorations", "fingerings", "slurs", "spans", "tremolo", "tuplets")

    def __init__(self):
        self.decorations: list[str] = []
        self.fingerings: list[str] = []
        self.slurs: list[tuple[str, str]] = []
        self.spans: list[str] = []
        self.tremolo = ""
        self.tuplets: list[tuple[str, str]] = []


def read_notations(notations: list[Element]) -> Notations:
    """All <notations> of a note in one."""
    found = Notations()
    children = [child for element in notations for child in element]
    children.sort(key=lambda child: child.tag)
    for child in children:
        reader = _READERS.get(child.tag)
        if reader is not None:
            reader(found, child)
    return found


def _read_arpeggiate(found: Notations, element: Element) -> None:
    found.decorations.append("!arpeggio!")


def _read_fermata(found: Notations, element: Element) -> None:
    mark = "!invertedfermata!" if element.get("type") == "inverted" else "!fermata!"
    found.decorations.append(mark)


def _read_articulations(found: Notations, element: Element) -> None:
    for child in element:
        mark = ARTICULATIONS.get(child.tag)
        if mark:
            found.decorations.append(mark)


def _read_ornaments(found: Notations, element: Element) -> None:
    for child in element:
        mark = ORNAMENTS.get(child.tag)
        if mark:
            found.decorations.append(mark)
        elif child.tag == "wavy-line":
            found.spans.append("!trill(!" if child.get("type") == "start" else "!trill)!")
        elif child.tag == "tremolo":
            _read_tremolo(found, child)


def _read_tremolo(found: Notations, element: Element) -> None:
    text = (element.text or "").strip()
    strokes = "/" * min(int(text), 8) if text.isdecimal() else ""
    if strokes and element.get("type") == "start":
        found.tremolo = f"!{strokes}-!"
    elif strokes and element.get("type", "single") == "single":
        found.tremolo = f"!{strokes}!"


def _read_technical(found: Notations, element: Element) -> None:
    for child in element:
        mark = TECHNICAL.get(child.tag)
        if mark:
            found.decorations.append(mark)
        elif child.tag == "fingering" and child.text:
            found.fingerings.append(f"!{child.text}!")


def _read_slide(found: Notations, element: Element) -> None:
    line = "~" if element.get("line-type") == "wavy" else "-"
    found.spans.append(f"!{line}{'(' if element.get('type') == 'start' else ')'}!")


def _read_slur(found: Notations, element: Element) -> None:
    found.slurs.append((element.get("type", ""), element.get("number", "1")))


def _read_tuplet(found: Notations, element: Element) -> None:
    found.tuplets.append((element.get("type", ""), element.get("number", "1")))


_READERS = {
    "arpeggiate": _read_arpeggiate,
    "articulations": _read_articulations,
    "fermata": _read_fermata,
    "glissando": _read_slide,
    "ornaments": _read_ornaments,
    "slide": _read_slide,
    "slur": _read_slur,
    "technical": _read_technical,
    "tuplet": _read_tuplet,
}
