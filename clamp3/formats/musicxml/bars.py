"""One voice's share of one measure, from timed items to ABC text: tuplets, rhythms, lengths."""

import math
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter

from clamp3.formats.musicxml.directions import Mark
from clamp3.formats.musicxml.groups import Group, filler

_INSIDE_BEAM = ("continue", "end")
_MOST_TUPLETS = 8
_LARGEST_DENOMINATOR = 64


def write_bar(items: list[tuple], length, ticks_per_eighth: int) -> tuple[str, list[Group]]:
    """(ABC text, groups in order) of a voice's (onset, item) pairs in a bar of `length` ticks."""
    ordered = _in_time(items, length, ticks_per_eighth // 8)
    groups = [item for item in ordered if isinstance(item, Group)]
    mark_tuplets(groups)
    return _spell(ordered, ticks_per_eighth), groups


def write_overflow(items: list[tuple], length, ticks_per_eighth: int) -> str:
    """What a bar's marks beyond its end become: text behind its bar line."""
    late = [(onset - length, item) for onset, item in items if onset > length]
    return write_bar(late, 0, ticks_per_eighth)[0] if late else ""


def _in_time(items: list[tuple], length, tolerance) -> list[Group | Mark]:
    """The items in order of onset, with holes filled and overlaps resolved."""
    now = 0
    ordered: list[Group | Mark] = []
    for onset, item in sorted(items, key=itemgetter(0)):
        start = max(now, onset)
        if onset > now + tolerance:
            ordered.append(filler(now, onset - now))
            now = onset
        elif onset < now - tolerance and isinstance(item, Group):
            start = _make_room(item, onset, ordered, now)
            if start is None:
                continue
        ordered.append(item)
        if isinstance(item, Group):
            now = start + item.duration
    if length > now + tolerance:
        ordered.append(filler(now, length - now))
    return ordered


def _make_room(item: Group, onset, ordered: list[Group | Mark], now):
    """Where a group that begins before its predecessor ends is written; None for nowhere.

    It cuts a rest short. It joins a note as a chord, and what is left of it then follows. A rest
    gives way, and so does whatever comes after a mark.
    """
    last = ordered[-1]
    if isinstance(last, Mark) or item.heads == ["z"]:
        return None
    if last.heads == ["z"]:
        last.duration = onset - last.onset
        if not last.duration:
            ordered.pop()
        return onset
    last.heads += item.heads
    last.ties += item.ties
    item.duration -= now - onset
    return now if item.duration > 0 else None


def _spell(ordered: list[Group | Mark], ticks_per_eighth: int) -> str:
    pieces = []
    beams = _beams(ordered)
    broken = _broken_rhythms(ordered, beams)
    for index, item in enumerate(ordered):
        if item.is_grace:
            pieces.append(_spell_grace(item))
        elif isinstance(item, Mark):
            pieces.append(item.text)
        else:
            ticks, link = broken.get(index) or (item.duration, "")
            space = "" if beams[index] in _INSIDE_BEAM else " "
            pieces.append(space + item.text(abc_length(ticks, ticks_per_eighth, item.ratio), link))
    return "".join(pieces)


def _spell_grace(group: Group) -> str:
    """A grace note; what the first one begins stands before the brace."""
    before = ""
    if group.opens_brace:
        before = "(" * group.slurs_opened + "".join(group.spans)
        before += "{/" if group.note.slash else "{"
        group.slurs_opened = 0
        group.spans = ()
    return before + group.text("") + ("}" if group.closes_brace else "")


def _beams(ordered: list[Group | Mark]) -> list[str]:
    """The beam of each item; a rest is inside one if the note after it is."""
    beams = []
    following = ""
    for item in reversed(ordered):
        if isinstance(item, Mark):
            beams.append("")
            continue
        if not item.is_rest:
            following = item.beam
        beams.append(following if following in _INSIDE_BEAM else item.beam)
    return beams[::-1]


def _broken_rhythms(ordered: list, beams: list[str]) -> dict[int, tuple[int, str]]:
    """Where `>` or `<` links two neighbours under a beam: index → (printed ticks, sign)."""
    broken: dict[int, tuple[int, str]] = {}
    if not any(beam in _INSIDE_BEAM for beam in beams):
        return broken
    before = None
    for index, item in enumerate(ordered):
        if isinstance(item, Mark):
            continue
        if item.is_grace:
            before = None
            continue
        sign = ""
        if before is not None and beams[index] in _INSIDE_BEAM:
            sign = _broken_sign(ordered[before], item)
        if sign:
            half = 2 * min(ordered[before].duration, item.duration)
            broken[before] = half, sign
            broken[index] = half, ""
        before = None if sign else index
    return broken


def _broken_sign(first: Group, second: Group) -> str:
    if first.ratio is not None or second.ratio is not None:
        return ""
    if first.duration == 3 * second.duration:
        return ">"
    return "<" if second.duration == 3 * first.duration else ""


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
            for _ in range(min(wanted, _MOST_TUPLETS - len(current))):
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


@lru_cache(maxsize=4096)
def abc_length(
    ticks: int | Fraction, ticks_per_eighth: int, ratio: tuple[int, int] | None = None
) -> str:
    """The printed length of `ticks`, in a tuplet of (actual, normal) notes.

    One eighth is the empty string, and so is no length at all; others are `2`, `3/2`, `/` for
    1/2, `/4` for 1/4.
    """
    if not ticks:
        return ""
    length = Fraction(ticks) / ticks_per_eighth
    if ratio is not None:
        length *= Fraction(*ratio)
    if length.denominator > _LARGEST_DENOMINATOR:
        length = _rounded(length)
    numerator, denominator = length.numerator, length.denominator
    if denominator == 1:
        return "" if numerator == 1 else str(numerator)
    if numerator == 1:
        return "/" if denominator == 2 else f"/{denominator}"
    return f"{numerator}/{denominator}"


def _rounded(length: Fraction) -> Fraction:
    """The whole number of eighths just below, or else the nearest 1/64 of an eighth.

    Halfway between two it is the even one, but below a quarter of an eighth the upper one.
    """
    whole = length.numerator // length.denominator
    if 9 * length < 10 * whole:
        return Fraction(whole)
    parts = length * _LARGEST_DENOMINATOR
    nearest = round(parts) if length > Fraction(1, 4) else math.floor(parts + Fraction(1, 2))
    return Fraction(nearest, _LARGEST_DENOMINATOR)
