"""A part's measures put into voices and written bar by bar."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree.ElementTree import Element

from clamp3.formats.musicxml import attributes, chordsymbols, directions
from clamp3.formats.musicxml.barlines import BarLine, joined
from clamp3.formats.musicxml.bars import write_bar, write_overflow
from clamp3.formats.musicxml.directions import Mark, SpanEnd
from clamp3.formats.musicxml.groups import Group
from clamp3.formats.musicxml.lyrics import LyricLines
from clamp3.formats.musicxml.notes import Note
from clamp3.formats.musicxml.numbers import read_duration, read_int
from clamp3.formats.musicxml.parts import Part
from clamp3.formats.musicxml.pitch import AccidentalMemory, abc_letter, key_alterations


@dataclass
class ScoreState:
    """What the whole score shares while its parts are written: the header's fields."""

    key: str | None = None
    meter: str | None = None
    tempo: str = ""
    stemless: bool = False
    open_spans: dict = field(default_factory=dict)
    early_stops: dict = field(default_factory=dict)
    open_slurs: dict = field(default_factory=dict)
    early_slur_stops: dict = field(default_factory=dict)


@dataclass
class Voice:
    """A voice of a part, written."""

    name: str
    staff: int
    bars: list[str] = field(default_factory=list)
    overflows: list[str] = field(default_factory=list)
    lyrics: LyricLines = field(default_factory=LyricLines)
    has_content: bool = False


@dataclass
class WrittenPart:
    """All voices of a part and the bar lines they share."""

    part: Part
    voices: list[Voice]
    barlines: list[str]
    clefs: dict[int, tuple[str, str]]
    transpose: int = 0


class PartAssembler:
    """Writes one part, measure by measure."""

    def __init__(self, part: Part, state: ScoreState, first: bool):
        self.part = part
        self.state = state
        self.first = first
        self.voices = {name: Voice(name, part.home[name]) for name in part.voices}
        self.current_staff = dict(part.home)
        self.memory = AccidentalMemory()
        self.key = None
        self.meter = None
        self.clefs: dict[int, str] = {}
        self.first_clefs: dict[int, str] = {}
        self.octaves: dict[int, int] = {}
        self.transpose = 0
        self.pedal_voice: str | None = None
        self.ticks_per_eighth = Fraction(part.ticks_per_quarter, 2)
        self.measure_index = 0

    def write(self) -> WrittenPart:
        """The whole part."""
        lines = []
        self.records = []
        self.graces: dict[str, list[Group]] = {}
        for events in self.part.measures:
            lines.append(self._measure(events))
            self.measure_index += 1
        self._write_bars()
        barlines = [
            joined(line.right, lines[i + 1] if i + 1 < len(lines) else None)
            for i, line in enumerate(lines)
        ]
        voices = [voice for voice in self.voices.values() if voice.has_content]
        if lines and voices and lines[0].left:
            for voice in voices:
                voice.bars[0] = "|:" + voice.bars[0]
        return WrittenPart(
            self.part, voices, barlines, self.first_clefs, self.transpose
        )

    def _measure(self, events: list) -> BarLine:
        self.memory.start_bar()
        self.items = defaultdict(list)
        self.now = 0
        self.length = 0
        self.front: dict[str, str] = {}
        self.group = None
        line = BarLine()
        self.events = events
        for self.position, event in enumerate(events):
            if isinstance(event, Note):
                self._note(event)
                continue
            tag = event.tag
            if tag == "barline":
                line.read(event)
            elif tag in _HANDLERS:
                _HANDLERS[tag](self, event)
        self.records.append((self.items, self.length, "".join(self.front.values())))
        return line

    def _write_bars(self) -> None:
        for name, voice in self.voices.items():
            if not voice.has_content:
                continue
            for items, length, front in self.records:
                on_time = [pair for pair in items[name] if pair[0] <= length]
                text, groups = write_bar(on_time, length, self.ticks_per_eighth)
                voice.bars.append(front + text)
                voice.lyrics.add_bar(groups)
                voice.overflows.append(write_overflow(items[name], length, self.ticks_per_eighth))

    def _note(self, note: Note) -> None:
        if note.chord and self.group is not None and not note.rest:
            self._add_head(self.group, note)
            return
        self._staff_change(note)
        duration = 0 if note.grace else note.duration
        if note.notations.paired:
            note.ratio = None
        group = Group(note, self.now, duration)
        waiting = self.graces.setdefault(note.voice, [])
        if note.grace:
            waiting.append(group)
        else:
            for grace in waiting:
                grace.main = group
            waiting.clear()
        self._add_head(group, note)
        self.items[note.voice].append((self.now, group))
        self.group = group
        self.now += duration
        self.length = max(self.length, self.now)

    def _staff_change(self, note: Note) -> None:
        self._move(note.voice, note.staff)

    def _move(self, voice: str, staff: int) -> None:
        current = self.current_staff[voice]
        if staff != current:
            self.current_staff[voice] = staff
            self.items[voice].append((self.now, Mark(f"[I:staff {staff - current:+d}]")))

    def _add_head(self, group: Group, note: Note) -> None:
        notations = note.notations
        if note.rest:
            group.heads.append("z" if note.shown else "x")
            group.ties.append(False)
        elif not note.shown:
            if not group.heads:
                group.heads.append("x")
                group.ties.append(False)
            else:
                group.note.beam = ""
        else:
            self.voices[note.voice].has_content = True
            octave = note.octave - self.octaves.get(note.staff, 0)
            letter = abc_letter(note.step or "B", octave)
            sign = self.memory.sign(note, letter)
            if sign and note.courtesy:
                sign = "!courtesy!" + sign
            if note.stemless and not group.heads:
                self.state.stemless = True
                group.stemless = True
            group.heads.append(sign + letter)
            group.ties.append(note.tie_start)
        group.decorations += [d for d in notations.decorations if d not in group.decorations]
        group.fingerings += notations.fingerings
        group.spans += notations.spans
        group.tremolo = group.tremolo or notations.tremolo
        if note.lyrics and group.note is note:
            group.lyrics = note.lyrics
        for kind, number in notations.slurs:
            self._slur(group, note.voice, kind, number)

    def _slur(self, group: Group, voice: str, kind: str, number: str) -> None:
        """Pair slur ends by number; a pair counts only within one voice."""
        state = self.state
        here = (self.part.info.id, voice, self.measure_index)
        if kind == "start":
            stop = state.early_slur_stops.pop(number, None)
            if stop is None:
                state.open_slurs[number] = group, here
            elif stop[1] == here and stop[0].onset > group.onset:
                self._draw_slur(group, stop[0])
        elif kind == "stop":
            start = state.open_slurs.pop(number, None)
            if start is None:
                state.early_slur_stops[number] = group, here
            elif start[1][1] == voice:
                self._draw_slur(start[0], group)

    def _draw_slur(self, start: Group, stop: Group) -> None:
        if not self._leads_in(start, stop):
            start.slurs_opened += 1
            stop.slurs_closed += 1

    def _leads_in(self, start: Group, group: Group) -> bool:
        """Whether a slur only ties grace notes to the note they decorate."""
        return start.note.grace and not group.note.grace and start.main is group

    def _put(self, marks: list[Mark], staff: int) -> None:
        """Marks go to the voice of the next note, before a backup the staff's first voice."""
        if not marks:
            return
        name = self._next_voice() or self._first_voice(staff)
        if name is None:
            return
        for mark in marks:
            if isinstance(mark, SpanEnd):
                self._span(mark, self._span_voices(mark, staff, name))
            else:
                self.items[name].append((self.onset, mark))
                self.voices[name].has_content = True

    def _span_voices(self, end: SpanEnd, staff: int, name: str) -> list[str]:
        if end.kind == "octave":
            return [name for name, home in self.part.home.items() if home == staff]
        if end.kind == "pedal":
            self.pedal_voice = self.pedal_voice or name
            return [self.pedal_voice]
        return [name]

    def _span(self, end: SpanEnd, voices: list[str]) -> None:
        """Both ends go where the start belongs; a stop read before its start waits for it."""
        place = end.kind, end.number
        state = self.state
        if end.opens:
            early = state.early_stops.pop(place, None)
            if early is not None:
                self._mark(voices, early * self._scale, closing(end.name))
            self._mark(voices, self.onset, opening(end.name))
            if early is None:
                state.open_spans[place] = end.name, voices
        elif place in state.open_spans:
            name, voices = state.open_spans.pop(place)
            self._mark(voices, self.onset, closing(name))
        elif state.early_stops.pop(place, None) is None:
            state.early_stops[place] = Fraction(self.onset, self._scale)

    def _mark(self, voices: list[str], onset, text: str) -> None:
        for name in voices:
            twice = text == "!ped-up!" and any(
                time == onset and isinstance(item, Mark) and item.text == text
                for time, item in self.items[name]
            )
            if not twice:
                self.items[name].append((onset, Mark(text)))

    def _next_voice(self) -> str | None:
        for event in self.events[self.position + 1 :]:
            if isinstance(event, Note):
                return event.voice
            if event.tag == "backup":
                return None
        return None

    def _first_voice(self, staff: int) -> str | None:
        for name, home in self.part.home.items():
            if home == staff:
                return name
        return next(iter(self.part.home), None)

    def _backup(self, element: Element) -> None:
        self.now = max(0, self.now - self._ticks(element))

    def _forward(self, element: Element) -> None:
        ticks = self._ticks(element)
        if ticks * 16 > self.part.ticks_per_quarter:
            self.now += ticks
            self.length = max(self.length, self.now)

    def _ticks(self, element: Element):
        return read_duration(element.findtext("duration")) * self._scale

    @property
    def _scale(self) -> int:
        return self.part.ticks_per_quarter // self.divisions

    divisions = 1

    def _attributes(self, element: Element) -> None:
        self.transpose_here = self._transposes(element)
        details = element.find("staff-details")
        self.staff_lines: dict[int, str] = {}
        if details is not None and details.findtext("staff-lines"):
            self.staff_lines[read_int(details.get("number"), 1)] = details.findtext("staff-lines")
        for child in element:
            if child.tag == "divisions":
                self.divisions = max(int(child.text or 1), 1)
            elif child.tag == "key" and child is element.find("key"):
                self._key(child)
            elif child.tag == "time" and child is element.find("time"):
                self._time(child)
            elif child.tag == "clef":
                self._clef(child)
            elif child.tag == "transpose":
                if self.measure_index == 0 and self.now == 0:
                    self.transpose = attributes.read_transpose(child)

    def _transposes(self, element: Element) -> bool:
        transpose = element.find("transpose")
        return transpose is not None and attributes.read_transpose(transpose) % 12 != 0

    def _key(self, element: Element) -> None:
        key = attributes.read_key(element)
        if key is None:
            return
        name, fifths = key
        self.memory.key = key_alterations(fifths)
        opening = self.measure_index == 0 and self.now == 0
        if self.state.key is None and opening and not self.transpose_here:
            self.state.key = name
        elif not (opening and name == self.state.key):
            self.front["key"] = f"[K:{name}]"

    def _time(self, element: Element) -> None:
        meter = attributes.read_time(element)
        if meter is None:
            return
        if self.measure_index == 0 and self.now == 0:
            self.state.meter = meter
        else:
            self.front["meter"] = f"[M:{meter}]"

    def _clef(self, element: Element) -> None:
        staff = read_int(element.get("number"), 1)
        name, octaves = attributes.read_clef(element)
        suffix = f" stafflines={self.staff_lines[staff]}" if staff in self.staff_lines else ""
        self.octaves[staff] = octaves
        if staff not in self.clefs or (self.measure_index == 0 and self.now == 0):
            self.first_clefs[staff] = name, suffix
        else:
            for voice, home in self.part.home.items():
                if home == staff:
                    self._move(voice, staff)
                    self.items[voice].append((self.now, Mark(f"[K:{name}{suffix}]")))
        self.clefs[staff] = name

    def _direction(self, element: Element) -> None:
        staff = int(element.findtext("staff") or 1)
        self.onset = self.now
        self._tempo(element, staff)
        self._put(directions.read_marks(element), staff)

    def _sound(self, element: Element) -> None:
        self._tempo(element)

    def _tempo(self, element: Element, staff: int = 1) -> None:
        tempo = directions.read_tempo(element)
        if not tempo:
            return
        if self.measure_index == 0 and self.now == 0:
            self.state.tempo = tempo
        else:
            voice = self._first_voice(staff)
            if voice is not None:
                self.items[voice].append((self.now, Mark(f"[Q:{tempo}]")))

    def _harmony(self, element: Element) -> None:
        symbol = chordsymbols.chord_symbol(element)
        if symbol:
            self.onset = self.now
            self._put([Mark(symbol)], 1)


def opening(name: str) -> str:
    return "!ped!" if name == "ped" else f"!{name}(!"


def closing(name: str) -> str:
    return "!ped-up!" if name == "ped" else f"!{name})!"


_HANDLERS = {
    "attributes": PartAssembler._attributes,
    "backup": PartAssembler._backup,
    "direction": PartAssembler._direction,
    "forward": PartAssembler._forward,
    "harmony": PartAssembler._harmony,
    "sound": PartAssembler._sound,
}
