"""Chord symbols: <harmony> as ABC's quoted text."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.text import quoted

_ALTER = {-2: "bb", -1: "b", 0: "", 1: "#", 2: "##"}
_KINDS = {
    "major": "",
    "minor": "m",
    "augmented": "+",
    "diminished": "dim",
    "dominant": "7",
    "major-seventh": "maj7",
    "minor-seventh": "m7",
    "diminished-seventh": "dim7",
    "augmented-seventh": "+7",
    "half-diminished": "m7b5",
    "major-minor": "mmaj7",
    "minor-major": "m",
    "other": "",
    "major-sixth": "6",
    "minor-sixth": "m6",
    "dominant-ninth": "9",
    "major-ninth": "maj9",
    "minor-ninth": "m9",
    "dominant-11th": "11",
    "major-11th": "maj11",
    "minor-11th": "m11",
    "dominant-13th": "13",
    "major-13th": "maj13",
    "minor-13th": "m13",
    "suspended-second": "sus2",
    "suspended-fourth": "sus4",
    "power": "5",
    "none": "",
}


def chord_symbol(element: Element) -> str:
    """The symbol of a <harmony> in quotes; empty if it has no root."""
    root = element.find("root")
    if root is None:
        return ""
    text = _pitch_name(root, "root") + _kind(element)
    for degree in element.findall("degree"):
        alter = _ALTER.get(read_int(degree.findtext("degree-alter"), 0), "")
        text += alter + (degree.findtext("degree-value") or "")
    bass = element.find("bass")
    if bass is not None:
        text += "/" + _pitch_name(bass, "bass")
    return f'"{text}"'


def _kind(element: Element) -> str:
    """The kind as ABC writes it; a name that is no standard kind stays as it is."""
    kind = (element.findtext("kind") or "").strip()
    return quoted(_KINDS.get(kind, kind))


def _pitch_name(element: Element, prefix: str) -> str:
    step = (element.findtext(f"{prefix}-step") or "").strip()
    return step + _ALTER.get(read_int(element.findtext(f"{prefix}-alter"), 0), "")
