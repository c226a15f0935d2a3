"""From a MIDI file to the notes that sound, in seconds."""

import io
import struct
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mido

from clamp3.errors import FormatError
from clamp3.formats.limits import read_bytes

DRUMS = -1  # the program of notes on the percussion channel
DRUM_CHANNEL = 9
MAX_BYTES = 16 * 2**20  # the largest real files hold a few MB
DEFAULT_TEMPO = 500_000  # microseconds a quarter note, where the file names none
SMPTE_FRAMES = {24: 24.0, 25: 25.0, 29: 30 / 1.001, 30: 30.0}  # a second
VOLUME, EXPRESSION, PEDAL, SOUND_OFF, RESET, NOTES_OFF = 7, 11, 64, 120, 121, 123
SHORTEST_SECONDS = 0.01  # drum notes often last one tick


class Note(NamedTuple):
    """One note; `loudness` is 0 to 1."""

    start_seconds: float
    end_seconds: float
    pitch: int
    program: int  # General MIDI, 0 to 127, or DRUMS
    loudness: float


def read_notes(midi: Path | bytes, until_seconds: float) -> list[Note]:
    """The notes that begin before `until_seconds`, by start.

    Follows the tempo map, program changes, volume, expression and the sustain pedal; a program, a
    volume and an expression hold for the whole note. Pitch bend and effects are left out.
    Raises FormatError: unreadable_file, too_large, bad_midi, no_notes.
    """
    file = read_midi(midi)
    reader = _Reader()
    for seconds, message in timed_messages(file):
        if seconds >= until_seconds:
            break
        reader.hear(seconds, message)
    reader.finish(until_seconds)
    if not reader.notes:
        raise FormatError("no_notes", f"no note in the first {until_seconds:g} s")
    return sorted(reader.notes)


def read_midi(midi: Path | bytes) -> mido.MidiFile:
    """The file as mido reads it, with data bytes above 127 cut to 127."""
    try:
        data = midi if isinstance(midi, bytes) else read_bytes(midi, MAX_BYTES)
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except FormatError:
        raise
    except (EOFError, LookupError, OSError, ValueError, TypeError, AttributeError, struct.error,
            mido.midifiles.meta.KeySignatureError) as error:  # fmt: skip
        raise FormatError(
            "bad_midi", f"not a readable MIDI file: {str(error) or 'it ends too early'}"
        ) from error
    if file.ticks_per_beat == 0:
        raise FormatError("bad_midi", "the header says 0 ticks per beat")
    return file


def timed_messages(file: mido.MidiFile) -> Iterator[tuple[float, mido.Message]]:
    """Each message of all tracks with its time in seconds from the beginning."""
    per_tick = _seconds_per_tick(file.ticks_per_beat, DEFAULT_TEMPO)
    ticks, seconds = 0, 0.0
    for at, message in _merged(file):
        seconds += (at - ticks) * per_tick
        ticks = at
        if message.type == "set_tempo":
            per_tick = _seconds_per_tick(file.ticks_per_beat, message.tempo)
        yield seconds, message


def _merged(file: mido.MidiFile) -> list[tuple[int, mido.Message]]:
    events = []
    for track in file.tracks:
        ticks = 0
        for message in track:
            ticks += message.time
            events.append((ticks, message))
    return sorted(events, key=lambda event: event[0])


def _seconds_per_tick(division: int, tempo: int) -> float:
    """A positive division counts ticks a quarter note; a negative one holds SMPTE frames."""
    if division > 0:
        return tempo / 1e6 / division
    frames, ticks = -(division >> 8), division & 0xFF
    return 1 / (SMPTE_FRAMES.get(frames, float(max(frames, 1))) * max(ticks, 1))


class _Reader:
    """The state of the 16 channels while the messages go by."""

    def __init__(self):
        self.notes: list[Note] = []
        self.programs = [0] * 16
        self.volumes = [100] * 16
        self.expressions = [127] * 16
        self.pedals = [False] * 16
        self.sounding = defaultdict(deque)  # (channel, pitch) -> [(start, program, loudness)]
        self.released = defaultdict(list)  # channel -> pitches whose key is up, by the pedal held

    def hear(self, seconds: float, message: mido.Message) -> None:
        if message.type == "note_on" and message.velocity:
            self._start(seconds, message)
        elif message.type in ("note_on", "note_off"):
            self._release(seconds, message.channel, message.note)
        elif message.type == "program_change":
            self.programs[message.channel] = message.program
        elif message.type == "control_change":
            self._control(seconds, message.channel, message.control, message.value)

    def finish(self, seconds: float) -> None:
        """End at `seconds` all that nobody ended."""
        for channel, pitch in list(self.sounding):
            while self.sounding[channel, pitch]:
                self._end(seconds, channel, pitch)

    def _start(self, seconds: float, message: mido.Message) -> None:
        channel = message.channel
        loudness = (message.velocity / 127) ** 1.5
        loudness *= self.volumes[channel] / 127 * self.expressions[channel] / 127
        program = DRUMS if channel == DRUM_CHANNEL else self.programs[channel]
        self.sounding[channel, message.note].append((seconds, program, loudness))

    def _release(self, seconds: float, channel: int, pitch: int) -> None:
        if self.pedals[channel]:
            self.released[channel].append(pitch)
        else:
            self._end(seconds, channel, pitch)

    def _end(self, seconds: float, channel: int, pitch: int) -> None:
        """End the oldest note of this pitch: two voices in unison end one by one."""
        if self.sounding[channel, pitch]:
            start, program, loudness = self.sounding[channel, pitch].popleft()
            end = max(seconds, start + SHORTEST_SECONDS)
            self.notes.append(Note(start, end, pitch, program, loudness))

    def _control(self, seconds: float, channel: int, control: int, value: int) -> None:
        if control == VOLUME:
            self.volumes[channel] = value
        elif control == EXPRESSION:
            self.expressions[channel] = value
        elif control == PEDAL:
            self._pedal(seconds, channel, value >= 64)
        elif control == RESET:
            self.expressions[channel] = 127
            self._pedal(seconds, channel, False)
        elif control in (SOUND_OFF, NOTES_OFF):
            for pitch in [key for held, key in self.sounding if held == channel]:
                while self.sounding[channel, pitch]:
                    self._end(seconds, channel, pitch)

    def _pedal(self, seconds: float, channel: int, down: bool) -> None:
        self.pedals[channel] = down
        if not down:
            for pitch in self.released.pop(channel, []):
                self._end(seconds, channel, pitch)
