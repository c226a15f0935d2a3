"""One <part>, read: its measures with notes in divisions, its voices and staves."""

import math
from collections import Counter
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.notes import Note, read_note
from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.partlist import PartInfo

MAX_TICKS_PER_QUARTER = 2**40


@dataclass
class Part:
    """What the writer needs of a part, before anything is put into voices.

    measures         children of each measure in document order, notes read into Note
    ticks_per_quarter  the unit of all durations: a common multiple of all <divisions>
    voices           voice names in the order of their first note
    home             the staff on which a voice has most of its notes
    """

    info: PartInfo
    measures: list[list] = field(default_factory=list)
    ticks_per_quarter: int = 1
    voices: list[str] = field(default_factory=list)
    home: dict[str, int] = field(default_factory=dict)
    staves: int = 1


def read_part(element: Element, info: PartInfo) -> Part:
    """The Part of a <part> element; every note is visited once."""
    part = Part(info)
    all_divisions = {max(read_int(e.text, 1), 1) for e in element.iter("divisions")} or {1}
    part.ticks_per_quarter = math.lcm(*all_divisions)
    divisions = 1
    scale = part.ticks_per_quarter
    counts: dict[str, Counter] = {}
    for measure in element:
        if measure.tag != "measure":
            continue
        events = []
        for child in measure:
            tag = child.tag
            if tag == "note":
                note = read_note(child, scale)
                counts.setdefault(note.voice, Counter())[note.staff] += 1
                events.append(note)
                continue
            if tag == "attributes":
                text = child.findtext("divisions")
                if text is not None:
                    divisions = max(read_int(text, 1), 1)
                    scale = part.ticks_per_quarter // divisions
                part.staves = max(part.staves, read_int(child.findtext("staves"), 1))
            events.append(child)
        part.measures.append(events)
    part.voices = list(counts)
    part.home = {voice: _home(staves) for voice, staves in counts.items()}
    return part


def _home(counts: Counter) -> int:
    """The staff with most notes, the higher number of equals."""
    return max(counts, key=lambda staff: (counts[staff], staff))


def is_note(event: object) -> bool:
    """Whether an event of a measure is a Note and not an element."""
    return isinstance(event, Note)
