"""The part list: names, abbreviations, drums and how parts are bracketed together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.numbers import read_int

MAX_NESTING = 50


@dataclass
class PartInfo:
    """A <score-part>: its id, printed name, abbreviation, and MIDI keys by instrument."""

    id: str
    name: str = ""
    abbreviation: str = ""
    drums: dict[str, int] = field(default_factory=dict)


@dataclass
class PartGroup:
    """A bracket around parts and other brackets; the outermost has no number."""

    number: str
    symbol: str = ""
    barline: bool = False
    name: str = ""
    abbreviation: str = ""
    members: list["PartInfo | PartGroup"] = field(default_factory=list)

    def parts(self) -> Iterator[PartInfo]:
        """All parts below, in order."""
        for member in self.members:
            if isinstance(member, PartInfo):
                yield member
            else:
                yield from member.parts()


def read_part_list(element: Element | None) -> PartGroup:
    """The part list as a tree; brackets that are never closed close at its end."""
    outer = PartGroup(number="")
    stack = [outer]
    stops: list[str] = []
    for child in element if element is not None else ():
        if child.tag == "part-group" and child.get("type") != "start":
            stops.append(child.get("number", "1"))
            continue
        _close_all(stack, stops)
        stops = []
        if child.tag == "score-part":
            stack[-1].members.append(_read_part(child))
        elif child.tag == "part-group":
            _close(stack, child.get("number", "1"))
            if len(stack) < MAX_NESTING:
                group = _read_group(child)
                stack[-1].members.append(group)
                stack.append(group)
    _close_all(stack, stops)
    return outer


def _read_part(element: Element) -> PartInfo:
    drums = {}
    for instrument in element.findall("midi-instrument"):
        key = read_int(instrument.findtext("midi-unpitched"), -1)
        if key >= 0:
            drums[instrument.get("id", "")] = key - 1
    return PartInfo(
        id=element.get("id", ""),
        name=element.findtext("part-name") or "",
        abbreviation=element.findtext("part-abbreviation") or "",
        drums=drums,
    )


def _read_group(element: Element) -> PartGroup:
    return PartGroup(
        number=element.get("number", "1"),
        symbol=(element.findtext("group-symbol") or "").strip(),
        barline=(element.findtext("group-barline") or "").strip() == "yes",
        name=element.findtext("group-name") or "",
        abbreviation=element.findtext("group-abbreviation") or "",
    )


def _close_all(stack: list[PartGroup], numbers: list[str]) -> None:
    """Close brackets that end at the same place, the inner ones first."""
    waiting = list(numbers)
    while waiting:
        innermost = stack[-1].number
        waiting.remove(number := innermost if innermost in waiting else waiting[0])
        _close(stack, number)


def _close(stack: list[PartGroup], number: str) -> None:
    """Close a bracket; if others are open inside it, the innermost closes in its name."""
    for group in stack[1:]:
        if group.number == number:
            _exchange(group, stack[-1])
            stack.pop()
            return


def _exchange(outer: PartGroup, inner: PartGroup) -> None:
    for name in ("number", "symbol", "barline", "name", "abbreviation"):
        outer_value = getattr(outer, name)
        setattr(outer, name, getattr(inner, name))
        setattr(inner, name, outer_value)
