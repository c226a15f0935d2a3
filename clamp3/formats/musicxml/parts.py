"""One <part>, read: its measures with notes in ticks, its voices and staves."""

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.notes import Note, read_note
from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.partlist import PartInfo

_MOST_TICKS = 2**60
_TICK_PARTS = 2**20
_STAFF_STEP = 100


@dataclass
class Part:
    """What the writer needs of a part, before anything is put into voices.

    measures           children of each measure in document order, notes read into Note
    scales             ticks per division of each measure: those of its last <divisions>
    ticks_per_quarter  a common multiple of all <divisions>, so that ticks are whole numbers
    home               voice → the staff on which it has most of its notes; voices in order
    """

    info: PartInfo
    ticks_per_quarter: int = 1
    measures: list[list[Note | Element]] = field(default_factory=list)
    scales: list[int | Fraction] = field(default_factory=list)
    home: dict[str, int] = field(default_factory=dict)

    def scale(self, divisions: int) -> int | Fraction:
        """Ticks per division.

        Of too many kinds of divisions for whole ticks, the parts of a tick are rounded: exact
        times would have ever longer denominators.
        """
        whole, rest = divmod(self.ticks_per_quarter, max(divisions, 1))
        if not rest:
            return whole
        return Fraction(round(self.ticks_per_quarter * _TICK_PARTS / divisions), _TICK_PARTS)


def read_part(element: Element, info: PartInfo, *, voices_per_staff: bool) -> Part:
    """The Part of a <part> element; every note is visited once.

    With `voices_per_staff`, voice names count anew on each staff, as Sibelius writes them.
    """
    part = Part(info, _common_ticks(element))
    counts: Counter[tuple[str, int]] = Counter()
    scale = part.scale(1)
    for measure in element.findall("measure"):
        events: list[Note | Element] = []
        divisions = measure.findall("attributes/divisions")
        if divisions:
            scale = part.scale(read_int(divisions[-1].text, 1))
        for child in measure:
            if child.tag == "note":
                note = read_note(child, scale)
                if voices_per_staff:
                    note.voice = str(read_int(note.voice, 0) + _STAFF_STEP * note.staff)
                counts[note.voice, note.staff] += 1
                events.append(note)
                continue
            events.append(child)
        part.measures.append(events)
        part.scales.append(scale)
    part.home = _homes(counts)
    if voices_per_staff:
        part.home = dict(sorted(part.home.items(), key=lambda pair: int(pair[0])))
    return part


def _common_ticks(element: Element) -> int:
    ticks = 2  # an eighth is a whole number of ticks
    for divisions in element.findall("measure/attributes/divisions"):
        ticks = math.lcm(ticks, max(read_int(divisions.text, 1), 1))
        if ticks > _MOST_TICKS:
            return 2 * max(read_int(divisions.text, 1), 1)
    return ticks


def _homes(counts: Counter[tuple[str, int]]) -> dict[str, int]:
    """Voice → the staff with most of its notes, the higher number of equals."""
    best: dict[str, tuple[int, int]] = {}
    for (voice, staff), count in counts.items():
        best[voice] = max(best.get(voice, (0, 0)), (count, staff))
    return {voice: staff for voice, (_, staff) in best.items()}
