"""Chord symbols: <harmony> as ABC's quoted text."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.text import quoted

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
