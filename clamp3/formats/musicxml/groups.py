"""What stands in a voice: note groups (a note, chord or rest)."""

from fractions import Fraction

from clamp3.formats.musicxml.notes import Note


class Group:
    """A note, chord or rest of one voice, ready to be written.

    onset, duration  in ticks
    heads            ABC pitches with accidentals; [`z`] or [`x`] for a rest
    ties             for each head whether a tie starts there
    """

    __slots__ = (
        "decorations",
        "duration",
        "fingerings",
        "heads",
        "main",
        "note",
        "onset",
        "prefix",
        "slurs_closed",
        "slurs_opened",
        "stemless",
        "spans",
        "ties",
        "tremolo",
        "lyrics",
        "length",
        "verses",
    )

    def __init__(self, note: Note | None, onset, duration):
        self.note = note
        self.onset = onset
        self.duration = duration
        self.heads: list[str] = []
        self.ties: list[bool] = []
        self.decorations: list[str] = []
        self.fingerings: list[str] = []
        self.spans: list[str] = []
        self.tremolo = ""
        self.slurs_opened = 0
        self.slurs_closed = 0
        self.prefix = ""
        self.stemless = False
        self.main: Group | None = None
        self.lyrics = []
        self.length = Fraction(0)

    @property
    def is_rest(self) -> bool:
        return self.heads[0] in ("z", "x")

    def text(self, length: str, link: str = "") -> str:
        """The ABC of the group: slurs, decorations, heads, length, tie, slur ends."""
        tie_all = all(self.ties)
        if len(self.heads) == 1:
            body = self.heads[0]
        else:
            heads = (
                head + ("-" if tie and not tie_all else "")
                for head, tie in zip(self.heads, self.ties, strict=True)
            )
            body = f"[{''.join(heads)}]"
        return "".join(
            (
                self.prefix,
                "(" * self.slurs_opened,
                *self.spans,
                self.tremolo,
                *self.decorations,
                *self.fingerings,
                "s" if self.stemless else "",
                body,
                length,
                "-" if tie_all and self.ties else "",
                link,
                ")" * self.slurs_closed,
            )
        )
