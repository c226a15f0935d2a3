"""Note groups: a note, chord or rest of one voice."""

from clamp3.formats.musicxml.notes import NO_NOTATIONS, Note


class Group:
    """A note, chord or rest of one voice, ready to be written.

    note             the note that came first; None for filled-in silence
    onset, duration  in ticks
    heads            ABC pitches with accidentals; [`z`] or [`x`] for a rest
    ties             for each head whether a tie starts there
    prefix           `(3` and the like
    main             of a grace note: the group it leads to
    """

    __slots__ = (
        "decorations",
        "duration",
        "fingerings",
        "heads",
        "lyrics",
        "main",
        "note",
        "onset",
        "prefix",
        "slurs_closed",
        "slurs_opened",
        "spans",
        "stemless",
        "ties",
        "tremolo",
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
        self.lyrics: tuple = ()
        self.main: Group | None = None
        self.prefix = ""
        self.slurs_opened = 0
        self.slurs_closed = 0
        self.stemless = False

    @property
    def is_rest(self) -> bool:
        return self.heads[0] in ("z", "x")

    @property
    def is_grace(self) -> bool:
        return self.note is not None and self.note.grace

    @property
    def beam(self) -> str:
        return self.note.beam if self.note is not None else ""

    @property
    def ratio(self) -> tuple[int, int] | None:
        return self.note.ratio if self.note is not None else None

    def add_head(self, text: str, tie: bool) -> None:
        """One more note of the chord. A visible note takes the place of a hidden one."""
        if self.heads == ["x"]:
            self.heads.clear()
            self.ties.clear()
        self.heads.append(text)
        self.ties.append(tie)

    def add_silence(self, *, hidden: bool) -> None:
        """A rest; in a chord, silence adds nothing."""
        if not self.heads:
            self.heads.append("x" if hidden else "z")
            self.ties.append(False)
        elif self.heads == ["x"]:
            self.note.beam = ""

    def add_notations(self, note: Note) -> None:
        """Whatever hangs on a note of the group moves in front of it, each sign once."""
        if note is self.note:
            self.lyrics = note.lyrics
        notations = note.notations
        if notations is NO_NOTATIONS:
            return
        self.decorations += [d for d in notations.decorations if d not in self.decorations]
        self.fingerings += notations.fingerings
        self.spans += notations.spans
        self.tremolo = self.tremolo or notations.tremolo

    def text(self, length: str, link: str = "") -> str:
        """The ABC of the group: what stands before it, heads, length, tie, slur ends.

        `link` is the sign of a broken rhythm with the next group.
        """
        tie_all = all(self.ties)
        body = self.heads[0] if len(self.heads) == 1 else self._chord(tie_all)
        if not (self.decorations or self.fingerings or self.spans or self.tremolo):
            before = ""
        else:
            before = "".join((*self.spans, self.tremolo, *self.decorations, *self.fingerings))
        return (
            f"{self.prefix}{'(' * self.slurs_opened}{before}{'s' if self.stemless else ''}"
            f"{body}{length}{'-' if tie_all else ''}{link}{')' * self.slurs_closed}"
        )

    def _chord(self, tie_all: bool) -> str:
        heads = (
            head + ("-" if tie and not tie_all else "")
            for head, tie in zip(self.heads, self.ties, strict=True)
        )
        return f"[{''.join(heads)}]"


def filler(onset, duration) -> Group:
    """Invisible silence where a voice has nothing."""
    group = Group(None, onset, duration)
    group.add_silence(hidden=True)
    return group
