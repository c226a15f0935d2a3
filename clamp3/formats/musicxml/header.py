"""The header of a tune: words above the score, and fields that its parts tell."""

from dataclasses import dataclass
from xml.etree.ElementTree import Element


@dataclass
class Header:
    """Key, meter and tempo at the beginning, and whether any note has no stem."""

    key: str | None = None
    meter: str | None = None
    tempo: str = ""
    stemless: bool = False


def heading_lines(root: Element) -> list[str]:
    """The T:, C: and Z: lines of a score; `T:Title` if it names nothing at all."""
    titles = []
    for path in ("work/work-title", "movement-title"):
        titles += _field_lines("T", root.find(path))
    people = []
    for creator in root.findall("identification/creator"):
        kind = {"composer": "C", "lyricist": "Z"}.get(creator.get("type", ""))
        if kind:
            people += _field_lines(kind, creator)
    for rights in root.findall("identification/rights"):
        people += _field_lines("Z", rights)
    if not titles:
        titles = _credit_titles(root, {line[2:] for line in people})
    return titles + people or ["T:Title"]


def _field_lines(letter: str, element: Element | None) -> list[str]:
    text = element.text if element is not None else None
    if not text:
        return []
    return [f"{letter}:{line.strip()}" for line in text.split("\n")]


def _credit_titles(root: Element, known: set[str]) -> list[str]:
    """Title lines from the words printed on the page, less page numbers and what is known."""
    lines = []
    for credit in root.findall("credit"):
        text = "".join(words.text or "" for words in credit.findall("credit-words"))
        line = text.replace("\n", " ").strip()
        if line and not line.isdigit() and line not in known:
            lines.append(f"T:{line}")
    return lines
