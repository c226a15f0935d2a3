"""A whole score: from a MusicXML file to an ABC tune."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree.ElementTree import Element

from clamp3.errors import FormatError
from clamp3.formats.musicxml.assembly import PartAssembler, ScoreState
from clamp3.formats.musicxml.container import read_document
from clamp3.formats.musicxml.heading import heading_lines
from clamp3.formats.musicxml.partlist import PartInfo, read_part_list
from clamp3.formats.musicxml.parts import read_part
from clamp3.formats.musicxml.writer import write_tune


def musicxml_to_abc(source: Path | bytes) -> str:
    """The standard ABC of a MusicXML score: a path, or the bytes of a .mxl or XML file.

    Raises FormatError, and nothing else, for whatever is no readable score with notes.
    """
    with _no_garbage_collection():
        return _convert(read_document(source))


def _convert(root: Element) -> str:
    if root.tag != "score-partwise":
        raise FormatError("not_musicxml", f"the root element is <{root.tag}>")
    tree = read_part_list(root.find("part-list"))
    infos = {info.id: info for info in _leaves(tree)}
    state = ScoreState()
    written = []
    for element in root.findall("part"):
        identity = element.get("id", "")
        info = infos.get(identity)
        if info is None:
            info = PartInfo(identity)
            tree.members.append(info)
        part = read_part(element, info)
        written.append(PartAssembler(part, state, first=not written).write())
    if not any(part.voices for part in written):
        raise FormatError("no_notes", "the score has no notes")
    return write_tune(heading_lines(root), tree, written, state)


def _leaves(tree) -> Iterator[PartInfo]:
    for member in tree.members:
        if isinstance(member, PartInfo):
            yield member
        else:
            yield from _leaves(member)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Element trees hold no cycles, and walking millions of them for some is half the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
