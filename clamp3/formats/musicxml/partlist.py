"""The part list: names, abbreviations and how parts are bracketed together."""

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element


@dataclass
class PartInfo:
    """A <score-part>: its id, printed name and abbreviation."""

    id: str
    name: str = ""
    abbreviation: str = ""


@dataclass
class Group:
    """A bracket around parts and other groups."""

    number: str
    symbol: str = ""
    barline: bool = False
    name: str = ""
    abbreviation: str = ""
    members: list = field(default_factory=list)


def read_part_list(element: Element | None) -> Group:
    """The part list as a tree: PartInfo leaves below one nameless outer Group."""
    outer = Group(number="")
    stack = [outer]
    for child in element if element is not None else ():
        if child.tag == "score-part":
            stack[-1].members.append(_read_part(child))
        elif child.tag == "part-group":
            _read_group(stack, child)
    return outer


def _read_group(stack: list[Group], element: Element) -> None:
    number = element.get("number", "1")
    if element.get("type") == "start":
        group = Group(
            number=number,
            symbol=(element.findtext("group-symbol") or "").strip(),
            barline=(element.findtext("group-barline") or "").strip() == "yes",
            name=element.findtext("group-name") or "",
            abbreviation=element.findtext("group-abbreviation") or "",
        )
        stack[-1].members.append(group)
        stack.append(group)
        return
    for group in stack[1:]:
        if group.number == number:
            _exchange(group, stack[-1])
            stack.pop()
            return


def _exchange(outer: Group, inner: Group) -> None:
    """Let the innermost open group end when the file ends one further out."""
    for name in ("number", "symbol", "barline", "name", "abbreviation"):
        outer_value = getattr(outer, name)
        setattr(outer, name, getattr(inner, name))
        setattr(inner, name, outer_value)


def _read_part(element: Element) -> PartInfo:
    return PartInfo(
        id=element.get("id", ""),
        name=element.findtext("part-name") or "",
        abbreviation=element.findtext("part-abbreviation") or "",
    )
