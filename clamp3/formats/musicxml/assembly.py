"""A part's measures put into voices and written bar by bar."""

from collections import defaultdict
from fractions import Fraction
from functools import cached_property
from itertools import zip_longest
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml.barlines import BarLine, joined
from clamp3.formats.musicxml.bars import write_bar, write_overflow
from clamp3.formats.musicxml.directions import Mark, chord_symbol, read_marks, read_tempo
from clamp3.formats.musicxml.groups import Group
from clamp3.formats.musicxml.header import Header
from clamp3.formats.musicxml.notes import NO_NOTATIONS, Note
from clamp3.formats.musicxml.numbers import read_int, read_positive
from clamp3.formats.musicxml.parts import Part
from clamp3.formats.musicxml.percussion import PercussionMap
from clamp3.formats.musicxml.pitch import AccidentalMemory, abc_letter
from clamp3.formats.musicxml.signatures import Signatures
from clamp3.formats.musicxml.spans import Pairs, SpanEnd
from clamp3.formats.musicxml.voices import Voice, WrittenPart


class Bar:
    """One measure while it fills: (onset, item) pairs by voice, times in ticks.

    now      where the next event of the document stands
    length   the latest time that any event has reached
    lifted   (voice, onset) of pedals that are lifted
    """

    def __init__(self, events: list):
        self.events = events
        self.items: dict[str, list[tuple]] = defaultdict(list)
        self.now = 0
        self.length = 0
        self.position = 0
        self.lifted: set[tuple] = set()
        self.line = BarLine()
        self.inline = ""

    def add(self, voice: str, item: Group | Mark, onset=None) -> None:
        self.items[voice].append((self.now if onset is None else onset, item))

    def advance(self, ticks) -> None:
        self.now += ticks
        self.length = max(self.length, self.now)

    def next_voice(self) -> str | None:
        """The voice of the next note, unless a backup comes before it."""
        return self._voices_ahead[self.position]

    @cached_property
    def _voices_ahead(self) -> list[str | None]:
        """For each event the voice of the next note after it in the same run."""
        ahead: list[str | None] = []
        voice = None
        for event in reversed(self.events):
            ahead.append(voice)
            if isinstance(event, Note):
                voice = event.voice
            elif event.tag == "backup":
                voice = None
        return ahead[::-1]


class PartAssembler:
    """Puts one part's events into its voices; header and pairs are the score's.

    A part is written before the next is read: an end there of what is open here is not seen here.
    """

    def __init__(self, part: Part, header: Header, pairs: Pairs):
        self.part = part
        self.header = header
        self.pairs = pairs
        self.signatures = Signatures(header)
        self.voices = {name: Voice(name, staff) for name, staff in part.home.items()}
        self.accidentals = AccidentalMemory()
        self.percussion = PercussionMap(part.info.drums)
        self.scale = part.scale(1)
        self.bars: list[Bar] = []
        self.bar = Bar([])
        self._graces: dict[str, list[Group]] = defaultdict(list)
        self._group: Group | None = None
        self._pedal_voice: str | None = None
        self._tablature: dict[str, list[Group]] = defaultdict(list)

    def write(self) -> WrittenPart:
        """The whole part, less voices in which nothing happens."""
        for events, scale in zip(self.part.measures, self.part.scales, strict=True):
            self.scale = scale
            self._read_measure(events)
        self._draw_tablature_stems()
        lines = [bar.line for bar in self.bars]
        voices = [voice for voice in self.voices.values() if voice.has_content]
        for voice in voices:
            self._write_voice(voice)
        return WrittenPart(
            self.part.info,
            voices,
            [joined(line.right, after) for line, after in zip_longest(lines, lines[1:])],
            self.signatures,
            self.percussion,
        )

    def _write_voice(self, voice: Voice) -> None:
        ticks_per_eighth = self.part.ticks_per_quarter // 2
        repeat = "|:" if self.bars[0].line.left else ""
        for bar in self.bars:
            items = bar.items.get(voice.name, [])
            on_time = [pair for pair in items if pair[0] <= bar.length]
            text, groups = write_bar(on_time, bar.length, ticks_per_eighth)
            voice.bars.append(bar.inline + repeat + text)
            repeat = ""
            late = len(on_time) < len(items)
            overflow = write_overflow(items, bar.length, ticks_per_eighth) if late else ""
            voice.overflows.append(overflow)
            voice.lyrics.add_bar(groups)

    def _read_measure(self, events: list) -> None:
        self.accidentals.start_bar()
        self.signatures.start_bar()
        bar = self.bar = Bar(events)
        for bar.position, event in enumerate(events):
            if isinstance(event, Note):
                self._note(event)
            elif event.tag in _HANDLERS:
                _HANDLERS[event.tag](self, event)
        bar.inline = self.signatures.inline
        self.bars.append(bar)

    @property
    def _at_opening(self) -> bool:
        return not self.bars and self.bar.now == 0

    def _note(self, note: Note) -> None:
        bar = self.bar
        if note.chord and self._group is not None:
            self._add_head(self._group, note)
            return
        voice = note.voice
        if self.voices[voice].current_staff != note.staff:
            self._move(voice, note.staff)
        if note.notations.paired:
            note.ratio = None
        group = Group(note, bar.now, 0 if note.grace else note.duration)
        self.pairs.braces.add(group)
        if note.grace or self._graces[voice]:
            self._lead_in(group, note)
        self._add_head(group, note)
        bar.items[voice].append((bar.now, group))
        self._group = group
        bar.advance(group.duration)

    def _lead_in(self, group: Group, note: Note) -> None:
        """Tell grace notes which note they lead to."""
        waiting = self._graces[note.voice]
        if note.grace:
            waiting.append(group)
            return
        for grace in waiting:
            grace.main = group
        waiting.clear()

    def _move(self, voice: str, staff: int) -> None:
        """Write that a voice goes over to another staff."""
        current = self.voices[voice].current_staff
        if staff != current:
            self.voices[voice].current_staff = staff
            self.bar.add(voice, Mark(f"[I:staff {staff - current:+d}]"))

    def _add_head(self, group: Group, note: Note) -> None:
        """Add a note to a group: a head and all that hangs on it."""
        tablature = note.staff in self.signatures.tablatures
        if note.rest or not note.shown:
            group.add_silence(hidden=tablature or not note.shown, tie=note.tie_start)
        else:
            self._add_pitch(group, note, tablature=tablature)
        if note.notations is NO_NOTATIONS and not note.lyrics:
            return
        group.add_notations(note, tablature=tablature)
        for kind, number in note.notations.slurs:
            place = (self.part.info.id, len(self.bars), note.voice)
            if kind == "start":
                self.pairs.slurs.start(number, group, place)
            elif kind == "stop":
                self.pairs.slurs.stop(number, group, place)

    def _add_pitch(self, group: Group, note: Note, *, tablature: bool) -> None:
        octave = note.octave - self.signatures.octaves.get(note.staff, 0)
        letter = abc_letter(note.step, octave)
        sign = self.accidentals.sign(note, letter, self.signatures.alterations)
        if note.unpitched:
            sign = self.percussion.sign(note, octave, sign, letter)
        if sign and note.courtesy:
            sign = "!courtesy!" + sign
        if not group.heads:
            self.voices[note.voice].has_content = True
            if tablature:
                self._tablature[note.voice].append(group)
        if note.stemless:
            group.stemless = True
            self.header.stemless = self.header.stemless or not tablature
        string = note.notations.string if tablature else ""
        group.add_head(string + sign + letter, note.tie_start)

    def _draw_tablature_stems(self) -> None:
        """Tablature without any stem says so once; otherwise each stemless note does."""
        for name, groups in self._tablature.items():
            if all(group.stemless for group in groups):
                self.voices[name].nostems = True
                for group in groups:
                    group.stemless = False
            elif any(group.stemless for group in groups):
                self.header.stemless = True

    def _put(self, marks: list[Mark | SpanEnd], staff: int) -> None:
        """Marks go to the voice of the next note, before a backup to the staff's first."""
        name = self.bar.next_voice() or self._first_voice(staff)
        for mark in marks if name is not None else ():
            if isinstance(mark, SpanEnd):
                self._put_span(mark, staff, name)
            else:
                self.bar.add(name, mark)
                self.voices[name].has_content = True

    def _put_span(self, end: SpanEnd, staff: int, name: str) -> None:
        """An octave line is for all voices of a staff, all pedal for the first pedal's voice."""
        voices = [name]
        if end.kind == "octave":
            voices = [voice for voice, home in self.part.home.items() if home == staff]
        elif end.kind == "pedal":
            self._pedal_voice = self._pedal_voice or name
            voices = [self._pedal_voice]
        time = Fraction(self.bar.now) / self.scale
        for where, at, text in self.pairs.spans.pair(end, time, voices):
            for voice in where:
                self._put_once(voice, at * self.scale, text)

    def _put_once(self, voice: str, onset, text: str) -> None:
        """Two pedals lifted at once are one; hairpins stay as many as they are."""
        if text == "!ped-up!":
            if (voice, onset) in self.bar.lifted:
                return
            self.bar.lifted.add((voice, onset))
        self.bar.add(voice, Mark(text), onset)

    def _first_voice(self, staff: int) -> str | None:
        for name, home in self.part.home.items():
            if home == staff:
                return name
        return next(iter(self.part.home), None)

    def _attributes(self, element: Element) -> None:
        for staff, clef in self.signatures.read(element, self._at_opening):
            for voice, home in self.part.home.items():
                if home == staff:
                    self._move(voice, staff)
                    self.bar.add(voice, Mark(f"[K:{clef}]"))
        repeated = read_int(element.findtext("measure-style/measure-repeat"), 0)
        if repeated > 0 and self.part.home:
            self._put([Mark(f"[I:repeat {repeated} 1]")], 1)

    def _backup(self, element: Element) -> None:
        ticks = read_positive(element.findtext("duration")) * self.scale
        self.bar.now = max(0, self.bar.now - ticks)

    def _barline(self, element: Element) -> None:
        self.bar.line.read(element)

    def _direction(self, element: Element) -> None:
        staff = read_int(element.findtext("staff"), 1)
        self._tempo(element, staff)
        self._put(read_marks(element), staff)

    def _forward(self, element: Element) -> None:
        """Time goes on, but for the tiny steps that some exporters round with."""
        ticks = read_positive(element.findtext("duration")) * self.scale
        if ticks * 16 > self.part.ticks_per_quarter:
            self.bar.advance(ticks)

    def _harmony(self, element: Element) -> None:
        symbol = chord_symbol(element)
        if symbol:
            self._put([Mark(symbol)], read_int(element.findtext("staff"), 1))

    def _tempo(self, element: Element, staff: int = 1) -> None:
        tempo = read_tempo(element)
        voice = self._first_voice(staff)
        if tempo and self._at_opening:
            self.header.tempo = tempo
        elif tempo and voice is not None:
            self.bar.add(voice, Mark(f"[Q:{tempo}]"))


_HANDLERS = {
    "attributes": PartAssembler._attributes,
    "backup": PartAssembler._backup,
    "barline": PartAssembler._barline,
    "direction": PartAssembler._direction,
    "forward": PartAssembler._forward,
    "harmony": PartAssembler._harmony,
    "sound": PartAssembler._tempo,
}
