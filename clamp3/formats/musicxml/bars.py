"""One voice's share of one measure, from timed items to ABC text."""

from operator import itemgetter

from clamp3.formats.musicxml.directions import Mark
from clamp3.formats.musicxml.groups import Group, filler
from clamp3.formats.musicxml.rhythm import abc_length
from clamp3.formats.musicxml.tuplets import mark_tuplets

_INSIDE_BEAM = ("continue", "end")


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
    last = None
    ordered: list[Group | Mark] = []
    for onset, item in sorted(items, key=itemgetter(0)):
        sounds = isinstance(item, Group) and not item.is_grace
        if sounds and onset < now - tolerance:
            if not _fit(item, last, now):
                continue
        elif onset > now + tolerance:
            ordered.append(filler(now, onset - now))
            now = onset
        ordered.append(item)
        if sounds:
            last = item
            now = max(now, onset) + item.duration
    if length > now + tolerance:
        ordered.append(filler(now, length - now))
    return ordered


def _fit(item: Group, last: Group, now) -> bool:
    """Whether a group that starts before its predecessor ends is written, perhaps shortened.

    Of a rest what is left is written; a note joins its predecessor's chord.
    """
    if item.is_rest:
        left = item.onset + item.duration - now
        item.duration = max(left, 0)
        return left > 0
    for head, tie in zip(item.heads, item.ties, strict=True):
        if last.is_rest:
            break
        last.add_head(head, tie)
    return False


def _spell(ordered: list[Group | Mark], ticks_per_eighth: int) -> str:
    pieces = []
    in_grace = False
    beams = _beams(ordered)
    broken = _broken_rhythms(ordered, beams)
    for index, item in enumerate(ordered):
        grace = isinstance(item, Group) and item.is_grace
        if in_grace and not grace:
            pieces.append("}")
        if grace:
            pieces.append(_spell_grace(item, first=not in_grace))
        elif isinstance(item, Mark):
            pieces.append(item.text)
        else:
            ticks, link = broken.get(index) or (item.duration, "")
            space = "" if beams[index] in _INSIDE_BEAM else " "
            pieces.append(space + item.text(abc_length(ticks, ticks_per_eighth, item.ratio), link))
        in_grace = grace
    if in_grace:
        pieces.append("}")
    return "".join(pieces)


def _spell_grace(group: Group, *, first: bool) -> str:
    """A grace note; what the first one begins stands before the brace."""
    if not first:
        return group.text("")
    before = "(" * group.slurs_opened + "".join(group.spans)
    group.slurs_opened = 0
    group.spans = []
    return before + ("{/" if group.note.slash else "{") + group.text("")


def _beams(ordered: list[Group | Mark]) -> list[str]:
    """The beam of each item; a rest without one takes that of the note after it."""
    beams = [""] * len(ordered)
    following = ""
    for index in range(len(ordered) - 1, -1, -1):
        item = ordered[index]
        if isinstance(item, Group):
            if item.beam or (item.note is not None and not item.is_rest):
                following = item.beam
            beams[index] = following
    return beams


def _broken_rhythms(ordered: list, beams: list[str]) -> dict[int, tuple[int, str]]:
    """Where `>` or `<` links two neighbours under a beam: index → (printed ticks, sign)."""
    broken: dict[int, tuple[int, str]] = {}
    before = None
    for index, item in enumerate(ordered):
        if isinstance(item, Mark):
            continue
        if item.note is None or item.is_grace:
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
