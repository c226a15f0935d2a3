"""Voices and parts once they are written, and the syllables under their notes."""

import re
from dataclasses import dataclass, field
from itertools import takewhile
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.groups import Group
from clamp3.formats.musicxml.numbers import read_int
from clamp3.formats.musicxml.partlist import PartInfo
from clamp3.formats.musicxml.percussion import PercussionMap
from clamp3.formats.musicxml.signatures import Signatures

_ESCAPES = str.maketrans({"-": "\\-", " ": "~", "\n": "~", "\r": "~", "_": "\\_"})
MAX_VERSES = 100
_FINAL_DIGITS = re.compile(r"\d+$", re.ASCII)


class LyricLines:
    """The verses of one voice, bar by bar."""

    def __init__(self):
        self.bars: list[dict[int, str]] = []
        self.verses = 0
        self._named: dict[str, int] = {}
        self._extending: set[int] = set()
        self._wordless: set[int] = set()

    def add_bar(self, groups: list[Group]) -> None:
        """Take the syllables of the next bar's groups."""
        if not self._extending and not any(group.lyrics for group in groups):
            self.bars.append({})
            return
        self._wordless = set()
        under = [self._under(g) for g in groups if g.note is not None and not g.note.grace]
        verses = {number for syllables in under if syllables for number in syllables}
        bar = {}
        for number in sorted(verses | self._extending):
            bar[number] = self._verse(number, under)
        self.bars.append(bar)

    def lines(self, start: int, stop: int) -> list[str]:
        """The w: lines below bars `start` to `stop`."""
        return [
            "w: " + "".join(f"{bar.get(verse, '')}|" for bar in self.bars[start:stop])
            for verse in range(1, self.verses + 1)
        ]

    def _verse(self, number: int, under: list[dict | None]) -> str:
        """One verse of one bar; a bar without syllables carries an extension up to a rest.

        It does not if the end of the extension is marked in the bar.
        """
        if not any(syllables and number in syllables for syllables in under):
            self._extending.discard(number)
            if number in self._wordless:
                return ""
            return " ".join("_" for _ in takewhile(lambda syllables: syllables is not None, under))
        tokens = []
        for syllables in under:
            if syllables is None:
                continue
            if number in syllables:
                text, extends = syllables[number]
                tokens.append(text)
                (self._extending.add if extends else self._extending.discard)(number)
            else:
                tokens.append("_" if number in self._extending else "*")
        return " ".join(tokens)

    def _under(self, group: Group) -> dict[int, tuple[str, bool]] | None:
        """Verse → (syllable, whether a line extends it) under a group; None under a rest."""
        if group.is_rest:
            return None
        found = {}
        for lyric in group.lyrics:
            text = "".join(_pieces(lyric))
            verse = self._number(lyric.get("number", "1"))
            if not text:
                self._wordless.add(verse)
                continue
            hyphen = (lyric.findtext("syllabic") or "") in ("begin", "middle")
            self.verses = max(self.verses, verse)
            found[verse] = text + ("-" if hyphen else ""), lyric.find("extend") is not None
        return found

    def _number(self, text: str) -> int:
        """The verse number; for a name such as `chorus` its final digits or the next free one."""
        digits = _FINAL_DIGITS.search(text)
        number = read_int(digits.group(), 0) if digits else 0
        if 0 < number <= MAX_VERSES:
            return number
        return self._named.setdefault(text, min(self.verses + 1, MAX_VERSES))


def _pieces(lyric: Element) -> list[str]:
    return [
        "~" if child.tag == "elision" else (child.text or "").strip("\r\n").translate(_ESCAPES)
        for child in lyric
        if child.tag in ("text", "elision")
    ]


@dataclass
class Voice:
    """A voice of a part.

    bars       ABC text of each bar, without its right bar line
    overflows  what stands behind each bar line (marks later than the bar's end)
    nostems    whether no note of its tablature has a stem
    """

    name: str
    staff: int
    bars: list[str] = field(default_factory=list)
    overflows: list[str] = field(default_factory=list)
    lyrics: LyricLines = field(default_factory=LyricLines)
    has_content: bool = False
    nostems: bool = False
    current_staff: int = 0

    def __post_init__(self):
        self.current_staff = self.staff


@dataclass
class WrittenPart:
    """The voices of a part that are heard, and what they share."""

    info: PartInfo
    voices: list[Voice]
    barlines: list[str]
    signatures: Signatures
    percussion: PercussionMap
