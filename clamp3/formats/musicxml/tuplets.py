"""Tuplets: `(3` and its kin."""

from clamp3.formats.musicxml.groups import Group

MAX_NESTING = 8


class _Tuplet:
    """A tuplet while its groups are counted."""

    __slots__ = ("actual", "count", "depth", "group", "normal")

    def __init__(self, group: Group, outer: list["_Tuplet"]):
        self.group = group
        self.depth = len(outer)
        self.count = 0
        self.actual, self.normal = group.ratio
        if outer:
            self.actual //= outer[-1].actual or 1
            self.normal //= outer[-1].normal or 1

    def text(self) -> str:
        plain = (self.actual, self.normal, self.count) == (3, 2, 3)
        return "(3" if plain else f"({self.actual}:{self.normal}:{self.count}"


def mark_tuplets(groups: list[Group]) -> None:
    """Write the tuplets of a bar before their first groups.

    Tuplets nest as brackets do, whatever their numbers say; an inner one is written relative
    to the outer, in whole numbers even where that does not come out even. Notes with a tuplet's
    ratio but no tuplet around them make one for as long as there are notes of any ratio. All end
    with the bar.
    """
    current: list[_Tuplet] = []
    found: list[_Tuplet] = []
    for group in groups:
        if group.is_grace:
            continue
        if group.ratio is None and not current:
            continue
        kinds = _kinds(group)
        if group.ratio is None:
            current = []
        else:
            wanted = kinds.count("start") or int(not current)
            for _ in range(min(wanted, MAX_NESTING - len(current))):
                current.append(_Tuplet(group, current))
                found.append(current[-1])
        for tuplet in current:
            tuplet.count += 1
        for _ in range(kinds.count("stop")):
            if current:
                current.pop()
    for tuplet in sorted(found, key=lambda tuplet: tuplet.depth):
        tuplet.group.prefix += tuplet.text()


def _kinds(group: Group) -> list[str]:
    return [mark.get("type", "") for mark in group.note.notations.tuplets] if group.note else []
