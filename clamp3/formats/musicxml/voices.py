"""Voices and parts once they are written."""

from dataclasses import dataclass, field

from clamp3.formats.musicxml.lyrics import LyricLines
from clamp3.formats.musicxml.partlist import PartInfo
from clamp3.formats.musicxml.percussion import PercussionMap
from clamp3.formats.musicxml.signatures import Signatures


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
