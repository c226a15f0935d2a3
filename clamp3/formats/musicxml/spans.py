"""Things with two ends: hairpins, octave lines, pedal, slurs and the braces of grace notes.

Ends are paired by their number over the whole score, as the original converter pairs them: an
end left over in one part meets the next start of its number even if that is in another part.
"""

from dataclasses import dataclass
from fractions import Fraction

from clamp3.formats.musicxml.groups import Group


@dataclass
class SpanEnd:
    """One end of a hairpin, octave line or pedal; a closing end has no name."""

    kind: str
    number: str
    name: str = ""

    @property
    def opens(self) -> bool:
        return bool(self.name)


def opening(name: str) -> str:
    """The decoration that begins a span: `!<(!`, `!8va(!`, `!ped!`."""
    return "!ped!" if name == "ped" else f"!{name}(!"


def closing(name: str) -> str:
    """The decoration that ends a span."""
    return "!ped-up!" if name == "ped" else f"!{name})!"


class SpanPairs:
    """Pairs the ends of hairpins, octave lines and pedals.

    Times are in quarters, so that a stop that waits may end up in a part with other ticks.
    """

    def __init__(self):
        self._open: dict[tuple[str, str], tuple[str, list[str]]] = {}
        self._early: dict[tuple[str, str], Fraction] = {}

    def pair(
        self, end: SpanEnd, time: Fraction, voices: list[str]
    ) -> list[tuple[list[str], Fraction, str]]:
        """What an end puts where: (voices, time, decoration), none for a stop that must wait.

        Both ends stand where the start does. A stop that was read before its start, in a
        later voice, waits for it; two such stops cancel each other.
        """
        place = end.kind, end.number
        if end.opens:
            return self._start(place, end.name, time, voices)
        if place in self._open:
            name, where = self._open.pop(place)
            return [(where, time, closing(name))]
        if self._early.pop(place, None) is None:
            self._early[place] = time
        return []

    def _start(self, place, name: str, time: Fraction, voices: list[str]) -> list:
        early = self._early.pop(place, None)
        if early is None:
            self._open[place] = name, voices
            return [(voices, time, opening(name))]
        return [(voices, early, closing(name)), (voices, time, opening(name))]


class SlurPairs:
    """Pairs the ends of slurs; a pair counts only within one voice."""

    def __init__(self):
        self._open: dict[str, tuple[Group, str]] = {}
        self._early: dict[str, tuple[Group, tuple]] = {}

    def start(self, number: str, group: Group, bar: tuple) -> None:
        """A slur begins at `group`; `bar` is (part, measure index, voice)."""
        early = self._early.pop(number, None)
        if early is None:
            self._open[number] = group, bar[-1]
        elif early[1] == bar and early[0].onset > group.onset:
            _draw(group, early[0])

    def stop(self, number: str, group: Group, bar: tuple) -> None:
        """A slur ends at `group`."""
        begun = self._open.pop(number, None)
        if begun is None:
            self._early[number] = group, bar
        elif begun[1] == bar[-1]:
            _draw(begun[0], group)


class GraceBraces:
    """Where grace notes begin and end.

    A brace ends when the next note is none of grace, in whatever bar or voice of the part that
    is. At the end of a part it stays open, and grace notes that begin the next part carry on.
    """

    def __init__(self):
        self._last: Group | None = None

    def add(self, group: Group) -> None:
        """Take in the next group of the document."""
        if group.is_grace:
            group.opens_brace = self._last is None
            self._last = group
        elif self._last is not None:
            self._last.closes_brace = True
            self._last = None


class Pairs:
    """All the pairs of a score."""

    def __init__(self):
        self.spans = SpanPairs()
        self.slurs = SlurPairs()
        self.braces = GraceBraces()


def _draw(start: Group, stop: Group) -> None:
    """Draw a slur, but not one that only ties grace notes to the note they decorate."""
    if start.is_grace and start.main is stop:
        return
    start.slurs_opened += 1
    stop.slurs_closed += 1
