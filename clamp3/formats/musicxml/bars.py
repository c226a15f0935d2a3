"""One voice's share of one measure, from timed items to ABC text."""

from fractions import Fraction

from clamp3.formats.musicxml.directions import Mark
from clamp3.formats.musicxml.groups import Group
from clamp3.formats.musicxml.rhythm import abc_length


class Slot:
    """A bar of one voice while it is being filled: (onset, item) pairs."""

    __slots__ = ("items",)

    def __init__(self):
        self.items: list[tuple] = []

    def add(self, onset, item) -> None:
        self.items.append((onset, item))


def write_bar(items: list[tuple], length, ticks_per_eighth: Fraction) -> tuple[str, list[Group]]:
    """The ABC text of a bar of `length` ticks, and its groups in order."""
    ordered = _in_time(items, length, ticks_per_eighth)
    groups = [item for item in ordered if isinstance(item, Group)]
    _measure_lengths(groups, ticks_per_eighth)
    _number_tuplets(groups)
    return _spell(ordered, groups), groups


def write_overflow(items: list[tuple], length, ticks_per_eighth: Fraction) -> str:
    """What a bar's marks beyond its end become: text at the start of the next bar."""
    late = [(onset - length, item) for onset, item in items if onset > length]
    return write_bar(late, 0, ticks_per_eighth)[0] if late else ""


def filler(onset, duration) -> Group:
    """Invisible silence."""
    group = Group(None, onset, duration)
    group.heads.append("x")
    group.ties.append(False)
    return group


def _in_time(items: list[tuple], length, ticks_per_eighth: Fraction) -> list:
    """The items in order of onset with holes filled and overlaps resolved."""
    tolerance = ticks_per_eighth * 2 / 16
    now = 0
    last = None
    ordered = []
    for onset, item in sorted(items, key=lambda pair: pair[0]):
        is_sound = isinstance(item, Group) and item.note is not None and not item.note.grace
        if is_sound and onset < now - tolerance:
            last = _overlap(item, last, onset, now, ordered)
            if last is not item:
                continue
        elif onset > now + tolerance:
            ordered.append(filler(now, onset - now))
            now = onset
        ordered.append(item)
        if is_sound:
            last = item
            now = max(now, onset) + item.duration
    if length > now + tolerance:
        ordered.append(filler(now, length - now))
    return ordered


def _overlap(item: Group, last: Group | None, onset, now, ordered: list) -> Group | None:
    """Shorten, drop or merge a group that starts before its predecessor ends."""
    if item.is_rest:
        end = onset + item.duration
        if end <= now:
            return last
        item.duration = end - now
        return item
    if last is not None and not last.is_rest:
        last.heads += item.heads
        last.ties += item.ties
    return last


def _measure_lengths(groups: list[Group], ticks_per_eighth: Fraction) -> None:
    for group in groups:
        length = group.duration / ticks_per_eighth
        if group.note is not None and group.note.ratio is not None:
            length *= group.note.ratio[0]
        group.length = length


def _number_tuplets(groups: list[Group]) -> None:
    """Write `(3` and its kin before the first group of each tuplet.

    Tuplets nest as brackets do, whatever their numbers say. Notes with a tuplet's ratio but
    no tuplet around them make one for as long as the ratio lasts.
    """
    open_tuplets: list[_Tuplet] = []
    closed: list[_Tuplet] = []
    for group in groups:
        note = group.note
        if note is not None and note.grace:
            continue
        ratio = note.ratio if note is not None else None
        marks = [mark.get("type") for mark in note.notations.tuplets] if note is not None else []
        starts = marks.count("start") if ratio else 0
        if open_tuplets and (not ratio or (open_tuplets[0].implied and (ratio != open_tuplets[0].ratio))):
            closed += open_tuplets
            open_tuplets = []
        if ratio and not starts and not open_tuplets:
            open_tuplets.append(_Tuplet(group, ratio, 0, implied=True))
        for _ in range(starts):
            open_tuplets.append(_Tuplet(group, ratio, len(open_tuplets), open_tuplets))
        for tuplet in open_tuplets:
            tuplet.count += 1
        for _ in range(marks.count("stop")):
            if open_tuplets and not open_tuplets[-1].implied:
                closed.append(open_tuplets.pop())
    closed += open_tuplets
    for tuplet in sorted(closed, key=lambda tuplet: tuplet.depth):
        tuplet.group.prefix += tuplet.text()


class _Tuplet:
    """A tuplet while its groups are counted."""

    def __init__(self, group: Group, ratio, depth: int, outer=(), *, implied: bool = False):
        self.group = group
        self.ratio = ratio
        self.depth = depth
        self.implied = implied
        self.count = 0
        _, self.actual, self.normal = ratio
        if outer:
            relative = ratio[0] / outer[-1].ratio[0]
            self.actual, self.normal = relative.numerator, relative.denominator

    def text(self) -> str:
        plain = (self.actual, self.normal, self.count) == (3, 2, 3)
        return "(3" if plain else f"({self.actual}:{self.normal}:{self.count}"


def _spell(ordered: list, groups: list[Group]) -> str:
    pieces = []
    grace_open = False
    beams = _beams(ordered)
    broken = _broken_rhythms(ordered, beams)
    for index, item in enumerate(ordered):
        grace = isinstance(item, Group) and item.note is not None and item.note.grace
        if grace_open and not grace:
            pieces.append("}")
            grace_open = False
        if isinstance(item, Mark):
            pieces.append(item.text)
        elif grace:
            if not grace_open:
                pieces += ["(" * item.slurs_opened, *item.spans]
                pieces.append("{/" if item.note.slash else "{")
                item.slurs_opened = 0
                item.spans = []
                grace_open = True
            pieces.append(item.text(_grace_length(item)))
        else:
            space = "" if beams[index] in ("continue", "end") else " "
            length, link = broken.get(index, (item.length, ""))
            pieces.append(space + item.text(abc_length(length), link))
    if grace_open:
        pieces.append("}")
    return "".join(pieces)


def _grace_length(group: Group) -> str:
    return ""


def _beams(ordered: list) -> list[str]:
    """The beam of each item; a rest takes the one of the note after it."""
    beams = [""] * len(ordered)
    following = ""
    for index in range(len(ordered) - 1, -1, -1):
        item = ordered[index]
        if not isinstance(item, Group):
            continue
        if item.note is not None and (item.note.beam or not item.is_rest):
            following = item.note.beam
        beams[index] = following
    return beams


def _broken_rhythms(ordered: list, beams: list[str]) -> dict[int, tuple[Fraction, str]]:
    """Where `>` or `<` stands between two beamed neighbours: index → (length, sign)."""
    broken: dict[int, tuple[Fraction, str]] = {}
    before = None
    for index, item in enumerate(ordered):
        if isinstance(item, Mark):
            continue
        if item.note is None or item.note.grace:
            before = None
            continue
        if before is not None and beams[index] in ("continue", "end"):
            first, second = ordered[before], item
            sign = _sign(first, second)
            if sign:
                half = (first.length + second.length) / 2
                broken[before] = half, sign
                broken[index] = half, ""
                before = None
                continue
        before = index
    return broken


def _sign(first: Group, second: Group) -> str:
    if first.note.ratio is not None or second.note.ratio is not None:
        return ""
    if first.length == 3 * second.length:
        return ">"
    if second.length == 3 * first.length:
        return "<"
    return ""
