"""Tuplets: `(3` and its kin."""

from fractions import Fraction

from clamp3.formats.musicxml.groups import Group

MAX_NESTING = 8


class _Tuplet:
    """A tuplet while its groups are counted; `implied` if no <tuplet> started it."""

    __slots__ = ("actual", "count", "depth", "group", "implied", "normal", "ratio")

    def __init__(self, group: Group, outer: list["_Tuplet"], *, implied: bool):
        self.group = group
        self.depth = len(outer)
        self.implied = implied
        self.count = 0
        self.ratio = self.actual, self.normal = group.ratio
        if outer:
            relative = Fraction(*self.ratio) / Fraction(*outer[-1].ratio)
            self.actual, self.normal = relative.numerator, relative.denominator

    def text(self) -> str:
        plain = (self.actual, self.normal, self.count) == (3, 2, 3)
        return "(3" if plain else f"({self.actual}:{self.normal}:{self.count}"


def mark_tuplets(groups: list[Group]) -> None:
    """Write the tuplets of a bar before their first groups.

    Tuplets nest as brackets do, whatever their numbers say; an inner one is written relative
    to the outer. Notes with a tuplet's ratio but no tuplet around them make one for as long
    as the ratio lasts. All end with the bar.
    """
    current: list[_Tuplet] = []
    found: list[_Tuplet] = []
    for group in groups:
        if group.is_grace:
            continue
        if group.ratio is None and not current:
            continue
        kinds = _kinds(group)
        if current and _breaks(current[0], group):
            current = []
        if group.ratio is not None:
            starts = kinds.count("start")
            wanted = starts or int(not current)
            for _ in range(min(wanted, MAX_NESTING - len(current))):
                current.append(_Tuplet(group, current, implied=not starts))
                found.append(current[-1])
        for tuplet in current:
            tuplet.count += 1
        for _ in range(kinds.count("stop")):
            if current and not current[-1].implied:
                current.pop()
    for tuplet in sorted(found, key=lambda tuplet: tuplet.depth):
        tuplet.group.prefix += tuplet.text()


def _kinds(group: Group) -> list[str]:
    return [mark.get("type", "") for mark in group.note.notations.tuplets] if group.note else []


def _breaks(outermost: _Tuplet, group: Group) -> bool:
    """Whether a group cannot belong to the tuplets that are open."""
    if group.ratio is None:
        return True
    return outermost.implied and group.ratio != outermost.ratio
