"""Bars whose voices do not last equally long."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from clamp3.formats.abc.voices import read_voices

_UNTIMED = re.compile(r'![^!]+!|"[^"]*"|\{[^{}]*\}|\[[A-Za-z]:[^\[\]]*\]')
_TUPLET = r"\((?P<p>\d{1,9})(?::(?P<q>\d{0,9}))?(?::(?P<r>\d{0,9}))?"
_NOTE = re.compile(
    r"(?:\[(?P<chord>[^\[\]]*)\]|[A-Ga-gxzXZ][,']*)"
    r"(?P<number>\d{0,9})(?P<slashes>/*)(?P<divisor>\d{0,9})"
)
_TIMED = re.compile(f"{_TUPLET}|{_NOTE.pattern}")
_TUPLET_TIME = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}


class Misalignment(NamedTuple):
    """A bar (1 is the first row) whose length in units of `L:` differs from the first voice's."""

    bar: int
    voice: str
    units: Fraction
    expected_units: Fraction


def alignment_warnings(text: str) -> list[Misalignment]:
    """The bars in which a voice is longer or shorter than the first voice, by row and voice.

    Takes standard or interleaved ABC. Such pieces are interleaved all the same. Grace notes do
    not count; groups of tuplets within 1/64 of a whole unit count as whole, because converted
    scores round odd lengths. Raises FormatError as `interleave_abc` does.
    """
    _, voices = read_voices(text)
    found = []
    for bar, row in enumerate(zip(*(v.texts for v in voices.values()), strict=True), start=1):
        lengths = list(map(_bar_units, row))
        found += [
            Misalignment(bar, name, units, lengths[0])
            for name, units in zip(voices, lengths, strict=True)
            if units != lengths[0]
        ]
    return found


@dataclass
class _Group:
    """An open tuplet, or the whole bar: what its notes are worth and which of the bar is last."""

    ratio: Fraction
    last_note: float
    units: Fraction = Fraction(0)


def _bar_units(bar: str) -> Fraction:
    """Length of a bar in units; broken rhythm moves time inside it and changes nothing."""
    groups, notes = [_Group(Fraction(1), math.inf)], 0
    for token in _TIMED.finditer(_UNTIMED.sub("", bar).partition("&")[0]):
        if token["p"]:
            p = int(token["p"]) or 1
            q = int(token["q"] or _TUPLET_TIME.get(p, 2))
            groups.append(_Group(Fraction(q, p), notes + int(token["r"] or p)))
            continue
        groups[-1].units += _note_units(token)
        notes += 1
        while groups[-1].last_note <= notes:
            _close_tuplet(groups)
    while len(groups) > 1:
        _close_tuplet(groups)
    return groups[0].units


def _note_units(token: re.Match) -> Fraction:
    """Length of a note, a rest or a chord, which lasts as long as its first note."""
    divisor = int(token["divisor"]) if token["divisor"] else 2 ** len(token["slashes"])
    units = Fraction(int(token["number"] or 1), divisor or 1)
    inner = token["chord"] and _NOTE.search(token["chord"])
    return units * _note_units(inner) if inner else units


def _close_tuplet(groups: list[_Group]) -> None:
    """Add the time of the innermost group to the one around it."""
    group = groups.pop()
    units = group.units * group.ratio
    groups[-1].units += round(units) if abs(units - round(units)) <= Fraction(1, 64) else units
