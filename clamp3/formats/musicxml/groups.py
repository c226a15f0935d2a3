"""Note groups: a note, chord or rest of one voice."""

from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.notes import NO_NOTATIONS, Note


class Group:
    """A note, chord or rest of one voice, ready to be written.

    note             the note that came first; None for filled-in silence
    onset, duration  in ticks
    heads            ABC pitches with accidentals; [`z`] or [`x`] for a rest
    ties             for each head whether a tie starts there
    prefix           `(3` and the like
    main             of a grace note: the group it leads to
    opens_brace, closes_brace  whether grace notes begin or end here
    """

    # Defaults live in the class, as in Note: few groups have more than a head and a tie.
    closes_brace = False
    lyrics: tuple[Element, ...] = ()
    main: "Group | None" = None
    opens_brace = False
    prefix = ""
    signs: tuple[str, ...] = ()
    slurs_closed = 0
    slurs_opened = 0
    spans: tuple[str, ...] = ()
    stemless = False

    def __init__(self, note: Note | None, onset, duration):
        self.note = note
        self.is_grace = note is not None and note.grace
        self.ratio = note.ratio if note is not None else None
        self.onset = onset
        self.duration = duration
        self.heads: list[str] = []
        self.ties: list[bool] = []

    @property
    def is_rest(self) -> bool:
        return self.heads[0] in ("z", "x")

    @property
    def beam(self) -> str:
        return self.note.beam if self.note is not None else ""

    def add_head(self, text: str, tie: bool) -> None:
        """One more note of the chord."""
        self.heads.append(text)
        self.ties.append(tie)

    def add_silence(self, *, hidden: bool, tie: bool = False) -> None:
        """A rest or a hidden note; hidden notes of a chord that has begun add nothing."""
        if not (hidden and self.heads):
            self.add_head("x" if hidden else "z", tie)

    def add_notations(self, note: Note, *, tablature: bool = False) -> None:
        """Whatever hangs on a note of the group moves in front of it, note by note, each once.

        Tablature has strings in place of fingers.
        """
        if note is self.note:
            self.lyrics = note.lyrics
        notations = note.notations
        if notations is NO_NOTATIONS:
            return
        signs = notations.decorations + ([] if tablature else notations.fingerings)
        if note is self.note:
            self.spans = tuple(notations.spans)
            self.signs = tuple(signs)
            return
        known = self.spans + self.signs
        self.signs += tuple(sign for sign in notations.spans + signs if sign not in known)

    def text(self, length: str, link: str = "") -> str:
        """The ABC of the group: what stands before it, heads, length, tie, slur ends.

        `link` is the sign of a broken rhythm with the next group.
        """
        tie_all = all(self.ties)
        body = self.heads[0] if len(self.heads) == 1 else self._chord(tie_all)
        before = "".join(self.spans + self.signs)
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
