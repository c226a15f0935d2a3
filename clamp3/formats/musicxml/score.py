"""A whole score: from a MusicXML file to an ABC tune."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from clamp3.errors import FormatError
from clamp3.formats.limits import DEFAULT_LIMITS, Limits
from clamp3.formats.musicxml.assembly import PartAssembler
from clamp3.formats.musicxml.container import read_document, to_partwise
from clamp3.formats.musicxml.header import Header, heading_lines
from clamp3.formats.musicxml.partlist import PartGroup, PartInfo, read_part_list
from clamp3.formats.musicxml.parts import read_part
from clamp3.formats.musicxml.spans import Pairs
from clamp3.formats.musicxml.writer import write_tune


def musicxml_to_abc(source: Path | bytes, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """The standard ABC of a MusicXML score: a path, or the bytes of a .mxl or XML file.

    Ends with an empty line. Unit length 1/8, one V: per voice, lines below 100 characters
    that end in ` %` and the number of bars so far.

    Raises FormatError, and nothing else, for whatever is no readable score with notes. Kinds:
    unreadable_file, empty_file, corrupt_zip, no_score_in_archive, too_large, bad_encoding,
    malformed_xml, unsafe_xml, not_musicxml, no_parts, no_notes. `too_large` exceeds the limits.

    Source: sanderwood/clamp3@9016d2b preprocessing/abc, first step (options `-d 8 -x`): its output,
    byte for byte, on nearly all scores.
    Differs: what stops the original is converted (container.xml, *.musicxml members, UTF-16 and
    wrongly declared encodings, score-timewise, quarter tones and other accidentals, all kinds of
    pedal, metronomes without a number, 3+2 beats, named verses, parts missing from the part list),
    a line break in a lyric stays in its line, and before any <divisions> there is one to the
    quarter, where the original's lengths are divided by zero.
    """
    with _no_garbage_collection():
        try:
            return _convert(read_document(source, limits), limits)
        except (RecursionError, MemoryError) as error:
            raise FormatError("too_large", "the score is nested or long beyond reason") from error


def _convert(root: Element, limits: Limits) -> str:
    root = to_partwise(root, limits)
    elements = root.findall("part")
    if not elements:
        raise FormatError("no_parts", "the score has no <part>")
    tree = read_part_list(root.find("part-list"))
    header, pairs = Header(), Pairs()
    per_staff = _from_sibelius(root)
    written = []
    voice_events = 0
    for element, info in zip(elements, _infos(elements, tree), strict=True):
        part = read_part(element, info, voices_per_staff=per_staff)
        voice_events += len(part.home) * sum(len(events) + 1 for events in part.measures)
        if voice_events > limits.max_voice_events:
            raise FormatError("too_large", f"more than {limits.max_voice_events} events of voices")
        written.append(PartAssembler(part, header, pairs).write())
    if not any(part.voices for part in written):
        raise FormatError("no_notes", "the score has no notes, only rests or nothing at all")
    return write_tune(heading_lines(root), tree, written, header)


def _infos(elements: list[Element], tree: PartGroup) -> list[PartInfo]:
    """What the part list says of each part; parts it lacks or has once are added to it."""
    known = {info.id: info for info in tree.parts()}
    used: set[str] = set()
    infos = []
    for index, element in enumerate(elements):
        info = known.get(element.get("id", ""))
        if info is None:
            info = PartInfo(f"unlisted {index}")
            tree.members.append(info)
        elif info.id in used:
            info = replace(info, id=f"repeated {index}")
            tree.members.append(info)
        used.add(info.id)
        infos.append(info)
    return infos


def _from_sibelius(root: Element) -> bool:
    """Whether Sibelius wrote the file, itself or through Dolet."""
    return "Sibelius" in (root.findtext("identification/encoding/software") or "")


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Element trees hold no cycles, and searching them for some takes half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
