"""MIDI files to MTF, the lossless text form in which performances reach the models, and back.

MTF names the ticks per beat on its first line and then has one line per event of all tracks merged
in time, its fields parted by single spaces:

    ticks_per_beat 480
    time_signature 6 8 24 8 0
    note_on 0 3 60 64          (type, ticks since the event before, channel, key, velocity)
    end_of_track 480

The reader repeats the rules of the library mido, which defines the format, without its cost.
"""

import io
import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path

import mido

from clamp3.errors import FormatError

TEXT_TYPES = (
    "text",
    "copyright",
    "track_name",
    "instrument_name",
    "lyrics",
    "marker",
    "cue_marker",
    "device_name",
)
_MAX_EVENT_BYTES = 1_000_000
# Python refuses to write longer integers; a delta time of so many bits is no music.
_MAX_DELTA_BITS = 14_000

_CHANNEL_TYPES = (
    "note_off ",
    "note_on ",
    "polytouch ",
    "control_change ",
    "program_change ",
    "aftertouch ",
    "pitchwheel ",
)
_HEADS = [""] * 128 + [_CHANNEL_TYPES[(status - 128) // 16] for status in range(128, 240)]
_CHANNELS = [f" {status % 16}" for status in range(240)]
_NUMBERS = [f" {number}" for number in range(128)]
# System events by status: type and number of data bytes.
_SYSTEM_TYPES = {
    0xF1: ("quarter_frame ", 1),
    0xF2: ("songpos ", 2),
    0xF3: ("song_select ", 1),
    0xF6: ("tune_request ", 0),
    0xF8: ("clock ", 0),
    0xFA: ("start ", 0),
    0xFB: ("continue ", 0),
    0xFC: ("stop ", 0),
    0xFE: ("active_sensing ", 0),
}
_TEXT_BY_CODE = dict(zip((1, 2, 3, 4, 5, 6, 7, 9), TEXT_TYPES, strict=True))
# By number of sharps from -7 to 7: majors begin at the first key, minors three fifths later.
_KEYS = ["Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#"]
_KEYS += ["G#", "D#", "A#"]
_FRAME_RATES = (24, 25, 29.97, 30)

_ESCAPE = re.compile(r"\\(?:[\\nrt]|x([0-9a-f]{2}))")
_UNESCAPED = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}
_END = "end_of_track "
_TRACK_HEADER_BYTES = 8


# Tick from the start, head and tail: the line is head, ticks since the event before, tail.
# An empty head marks an event that is left out, but whose time passes all the same.
Event = tuple[int, str, str]


def midi_to_mtf(source: Path | bytes, *, keep_metadata: bool = False) -> str:
    """MTF of a MIDI file, given as its path or its bytes, without a final line end.

    Text events (track names, lyrics, markers …) are left out unless `keep_metadata`; published
    models know MTF without them.

    Raises FormatError: `unreadable_file`, `empty_file`, `not_midi`, `truncated_midi`,
    `type2_midi` (tracks that do not run together), `bad_track`, `bad_status`, `bad_data_byte`,
    `bad_meta`, `oversized_event`.

    Source: sanderwood/clamp3@9016d2b preprocessing/midi/batch_midi2mtf.py with mido 1.3.
    Reproduced on purpose: the delta time of a left-out text event and that of a meta event of
    unknown type are lost, so what follows moves earlier; published models were trained so.
    """
    data = source if isinstance(source, bytes) else _read(source)
    ticks_per_beat, track_count, position = _read_header(data)
    events: list[Event] = []
    for index in range(track_count):
        position = _read_track(data, position, events, keep_metadata, index)
    if track_count > 1:
        events.sort(key=itemgetter(0))
    return "\n".join([f"ticks_per_beat {ticks_per_beat}", *_lines(events)])


def mtf_to_midi(text: str) -> bytes:
    """A MIDI file with one track (type 1) from MTF.

    Also takes MTF as patches hold it, with several events of one type on a line, parted by tabs.

    Raises FormatError: `not_mtf` (no `ticks_per_beat` on the first line), `bad_event` (with its
    line number), `bad_midi` (what MIDI cannot hold, such as a negative delta time).

    Source: sanderwood/clamp3@9016d2b preprocessing/midi/batch_mtf2midi.py.
    Differs: empty sysex events are read, where the original stops. Meta events of unknown type
    are kept and their delta time goes to the next event, where the original drops both.
    """
    first, *lines = text.removeprefix("\ufeff").splitlines() or [""]
    heading = re.fullmatch(r"ticks_per_beat (-?\d{1,5})\s*", first)
    if not heading:
        raise FormatError(
            "not_mtf", f"the first line is {first[:40]!r}; expected 'ticks_per_beat' and a number"
        )
    try:
        track = mido.MidiTrack(_messages(lines))
        midi = mido.MidiFile(ticks_per_beat=int(heading[1]), tracks=[track])
        buffer = io.BytesIO()
        midi.save(file=buffer)
    except FormatError:
        raise
    except (ValueError, TypeError, struct.error) as error:
        raise FormatError("bad_midi", f"this MTF does not fit into a MIDI file: {error}") from error
    return buffer.getvalue()


def _read(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot read {path}: {error.strerror}") from error


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Ticks per beat, number of tracks, position of the first track."""
    if not data:
        raise FormatError("empty_file", "the MIDI file is empty")
    if data[:4] != b"MThd":
        wrapped = "; it is wrapped in a RIFF file (.rmi)" if data[:4] == b"RIFF" else ""
        raise FormatError("not_midi", f"found {data[:4]!r}, expected b'MThd' at the start{wrapped}")
    size = int.from_bytes(data[4:8], "big")
    header = data[8 : 8 + size]
    if len(data) < 8 or len(header) < 6:
        raise FormatError("truncated_midi", f"the header needs 14 bytes, the file has {len(data)}")
    kind, track_count, ticks_per_beat = (
        int.from_bytes(header[i : i + 2], "big", signed=True) for i in (0, 2, 4)
    )
    if kind == 2:
        raise FormatError("type2_midi", "type 2: independent patterns cannot be merged in time")
    return ticks_per_beat, track_count, 8 + size


def _read_track(
    data: bytes, position: int, events: list[Event], keep_metadata: bool, index: int
) -> int:
    """Append the events of the track at `position` and return the position after it."""
    name = data[position : position + 4]
    start = position + _TRACK_HEADER_BYTES
    if len(data) < start:
        raise FormatError("truncated_midi", f"the file ends before track {index + 1}")
    if name != b"MTrk":
        raise FormatError(
            "bad_track", f"byte {position}: found {name!r}, expected b'MTrk' of track {index + 1}"
        )
    end = start + int.from_bytes(data[start - 4 : start], "big")
    try:
        _read_events(data, start, end, events, keep_metadata)
    except IndexError:
        raise FormatError(
            "truncated_midi", f"track {index + 1}: the file ends in the middle of its events"
        ) from None
    return end


def _read_events(
    data: bytes, position: int, end: int, events: list[Event], keep_metadata: bool
) -> None:
    """Append all events up to `end`, which must be met exactly; IndexError where data run out.

    This loop takes nearly all of the time, so channel events are handled in place.
    """
    tick, running = 0, 0
    append = events.append
    heads, channels, numbers = _HEADS, _CHANNELS, _NUMBERS
    while position != end:
        delta = data[position]
        position += 1
        if delta > 127:
            delta, position = _variable_number(data, position - 1)
        tick += delta
        status = data[position]
        if status > 127:
            position += 1
            if status != 0xFF:
                running = status
        elif running:
            status = running
            if status > 0xEF:
                position = _after_running_status(status, position)
        else:
            raise FormatError("bad_status", f"byte {position}: data {status} before any status")
        if status < 0xC0:
            first, second = data[position], data[position + 1]
            position += 2
            if first > 127 or second > 127:
                raise _bad_data_byte(position)
            append((tick, heads[status], channels[status] + numbers[first] + numbers[second]))
        elif status < 0xF0:
            first = data[position]
            position += 1
            if status < 0xE0:
                value = first
            else:
                second = data[position]
                position += 1
                value = first + (second << 7) - 8192
            if first > 127 or value > 8191:
                raise _bad_data_byte(position)
            append((tick, heads[status], f"{channels[status]} {value}"))
        elif status == 0xFF:
            tick, position = _read_meta(data, position, tick, delta, append, keep_metadata)
        else:
            position = _read_system(data, status, position, tick, append)


def _variable_number(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, and the position after it."""
    number = 0
    while True:
        byte = data[position]
        position += 1
        number = (number << 7) | (byte & 127)
        if byte < 128:
            return number, position
        if number.bit_length() > _MAX_DELTA_BITS:
            raise FormatError("oversized_event", f"byte {position}: a number without end")


def _read_block(data: bytes, position: int) -> tuple[bytes, int]:
    """The bytes of a meta or sysex event, led by their number, and the position after them."""
    length, position = _variable_number(data, position)
    if length > _MAX_EVENT_BYTES:
        raise FormatError(
            "oversized_event",
            f"byte {position}: an event of {length} bytes; expected at most {_MAX_EVENT_BYTES}",
        )
    after = position + length
    if after > len(data):
        raise IndexError
    return data[position:after], after


def _after_running_status(status: int, position: int) -> int:
    """Where reading goes on when a system status is repeated silently.

    For sysex mido loses the byte that showed the repetition.
    """
    if status in (0xF0, 0xF7):
        return position + 1
    if not _SYSTEM_TYPES[status][1]:
        raise FormatError("bad_status", f"byte {position}: data after a status that takes none")
    return position


def _read_system(
    data: bytes, status: int, position: int, tick: int, append: Callable[[Event], None]
) -> int:
    if status in (0xF0, 0xF7):
        block, position = _read_block(data, position)
        block = block.removeprefix(b"\xf0").removesuffix(b"\xf7")
        if not block.isascii():
            raise _bad_data_byte(position)
        append((tick, "sysex ", f" {list(block)}"))
        return position
    if status not in _SYSTEM_TYPES:
        raise FormatError("bad_status", f"byte {position - 1}: status 0x{status:02x} is undefined")
    head, length = _SYSTEM_TYPES[status]
    values = [data[i] for i in range(position, position + length)]
    position += length
    if any(value > 127 for value in values):
        raise _bad_data_byte(position)
    if status == 0xF1:
        values = [values[0] >> 4, values[0] & 15]
    elif status == 0xF2:
        values = [values[0] | values[1] << 7]
    append((tick, head, "".join(f" {value}" for value in values)))
    return position


def _read_meta(
    data: bytes,
    position: int,
    tick: int,
    delta: int,
    append: Callable[[Event], None],
    keep_metadata: bool,
) -> tuple[int, int]:
    """Append a meta event; returns the tick (earlier after an unknown event) and the position."""
    code = data[position]
    block, position = _read_block(data, position + 1)
    if code in _TEXT_BY_CODE:
        words = block.decode("latin-1").encode("unicode_escape").decode("ascii")
        append((tick, f"{_TEXT_BY_CODE[code]} {words} " if keep_metadata else "", ""))
    elif code == 0x2F:
        append((tick, _END, ""))
    elif code in _META_HEADS:
        try:
            append((tick, _META_HEADS[code](block), ""))
        except (IndexError, ValueError):
            raise FormatError(
                "bad_meta",
                f"byte {position}: meta event 0x{code:02x} cannot hold {list(block[:8])}",
            ) from None
    else:
        # mido gives events of unknown type no delta time.
        tick -= delta
        append((tick, f"unknown_meta {code} {tuple(block)} ", ""))
    return tick, position


def _sequence_number(block: bytes) -> str:
    return f"sequence_number {block[0] << 8 | block[1] if block else 0} "


def _smpte_offset(block: bytes) -> str:
    minutes, seconds, frames, sub_frames = block[1], block[2], block[3], block[4]
    if minutes > 59 or seconds > 59 or sub_frames > 99:
        raise ValueError
    rate = _FRAME_RATES[block[0] >> 5]
    return f"smpte_offset {rate} {block[0] & 31} {minutes} {seconds} {frames} {sub_frames} "


def _time_signature(block: bytes) -> str:
    denominator = 2 ** block[1]
    # mido checks for a power of two in floating point and so refuses 2**29 and some others.
    if not math.log(denominator, 2).is_integer():
        raise ValueError
    return f"time_signature {block[0]} {denominator} {block[2]} {block[3]} "


def _key_signature(block: bytes) -> str:
    sharps = (block[0] ^ 128) - 128
    if not -7 <= sharps <= 7 or block[1] > 1:
        raise ValueError
    key = f"{_KEYS[sharps + 10]}m" if block[1] else _KEYS[sharps + 7]
    return f"key_signature {key} "


_META_HEADS: dict[int, Callable[[bytes], str]] = {
    0x00: _sequence_number,
    0x20: lambda block: f"channel_prefix {block[0]} ",
    0x21: lambda block: f"midi_port {block[0] if block else 0} ",
    0x51: lambda block: f"set_tempo {block[0] << 16 | block[1] << 8 | block[2]} ",
    0x54: _smpte_offset,
    0x58: _time_signature,
    0x59: _key_signature,
    0x7F: lambda block: f"sequencer_specific {tuple(block)} ",
}


def _bad_data_byte(position: int) -> FormatError:
    return FormatError("bad_data_byte", f"before byte {position}: a data byte above 127")


def _lines(events: list[Event]) -> Iterator[str]:
    """The lines of events sorted by tick; all ends of tracks become one at the end."""
    now = 0
    for tick, head, tail in events:
        if head is not _END:
            if head:
                yield f"{head}{tick - now}{tail}"
            now = tick
    yield f"{_END}{events[-1][0] - now if events else 0}"


def _messages(lines: Iterable[str]) -> Iterator[mido.Message | mido.MetaMessage]:
    """mido's messages for the lines after the first."""
    carried = 0
    for number, line in enumerate(lines, start=2):
        kind, _, rest = line.partition(" ")
        for fields in rest.split("\t") if kind else ():
            try:
                message = _message(kind, fields)
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise FormatError(
                    "bad_event", f"line {number}: cannot read {line[:60]!r}: {error}"
                ) from error
            message.time += carried
            carried = 0
            if kind == "unknown_meta":
                carried, message.time = message.time, 0
            yield message


def _message(kind: str, fields: str) -> mido.Message | mido.MetaMessage:
    if kind in TEXT_TYPES:
        words, _, time = fields.rpartition(" ")
        words = _ESCAPE.sub(
            lambda escape: _UNESCAPED.get(escape[0]) or chr(int(escape[1], 16)), words
        )
        name = "name" if kind.endswith("name") else "text"
        return mido.MetaMessage(kind, time=int(time), **{name: words})
    if kind == "sysex":
        time, _, block = fields.partition(" ")
        return mido.Message(kind, time=int(time), data=_block(block))
    if kind in ("sequencer_specific", "unknown_meta"):
        block, _, time = fields.rpartition(" ")
        if kind == "sequencer_specific":
            return mido.MetaMessage(kind, time=int(time), data=_block(block))
        code, _, block = block.partition(" ")
        return mido.midifiles.UnknownMetaMessage(int(code), _block(block), int(time))
    names, build = _fields_of(kind)
    values = zip(names, fields.split(), strict=True)
    return build(kind, **{name: _value(name, value) for name, value in values})


def _fields_of(kind: str) -> tuple[tuple[str, ...], type]:
    """Names of an event's fields in MTF's order, and mido's class for it."""
    if kind in mido.messages.SPEC_BY_TYPE:
        return ("time", *mido.messages.SPEC_BY_TYPE[kind]["value_names"]), mido.Message
    names = [name for name in vars(mido.MetaMessage(kind)) if name != "type"]
    return tuple(names), mido.MetaMessage


def _value(name: str, value: str) -> int | float | str:
    if name == "key":
        return value
    return float(value) if name == "frame_rate" and "." in value else int(value)


def _block(text: str) -> tuple[int, ...]:
    """The bytes of `[1, 2]` or `(1, 2)`."""
    values = tuple(int(value) for value in text[1:-1].replace(",", " ").split())
    if text[:1] + text[-1:] not in ("[]", "()") or any(not 0 <= v <= 255 for v in values):
        raise ValueError("expected a list of bytes")
    return values
