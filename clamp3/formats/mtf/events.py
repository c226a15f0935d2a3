"""The events of one track of a MIDI file."""

from clamp3.errors import FormatError
from clamp3.formats.mtf.meta import END, TEXT_BY_CODE, is_known, meta_head

# Tick from the start, head and tail: the line is head, ticks since the event before, tail.
# An empty head marks an event that is left out, but whose time passes all the same.
Event = tuple[int, str, str]

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


def read_events(
    data: bytes, position: int, end: int | None, keep_metadata: bool
) -> tuple[list[Event], int]:
    """The events from `position` to `end`, which must be met exactly, and where they end.

    Without an `end`, the first end_of_track is the last event.
    This loop takes nearly all of the time, so channel events are handled in place.

    Raises IndexError where the data run out; FormatError: `bad_status`, `bad_data_byte`,
    `bad_meta`, `oversized_event`.
    """
    events: list[Event] = []
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
            code = data[position]
            head, position = _read_meta(data, position, keep_metadata)
            if not is_known(code):
                tick -= delta  # mido gives events of unknown type no delta time
            append((tick, head, ""))
            if end is None and head is END:
                break
        else:
            head, tail, position = _read_system(data, status, position)
            append((tick, head, tail))
    return events, position


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


def _read_meta(data: bytes, position: int, keep_metadata: bool) -> tuple[str, int]:
    """The head of a meta event (empty where it is left out) and the position after it."""
    code = data[position]
    block, position = _read_block(data, position + 1)
    if code in TEXT_BY_CODE and not keep_metadata:
        return "", position
    try:
        return meta_head(code, block), position
    except (IndexError, ValueError):
        raise FormatError(
            "bad_meta", f"byte {position}: meta event 0x{code:02x} cannot hold {list(block[:8])}"
        ) from None


def _read_system(data: bytes, status: int, position: int) -> tuple[str, str, int]:
    """Head and tail of a sysex or other system event and the position after it."""
    if status in (0xF0, 0xF7):
        block, position = _read_block(data, position)
        block = block.removeprefix(b"\xf0").removesuffix(b"\xf7")
        if not block.isascii():
            raise _bad_data_byte(position)
        return "sysex ", f" {list(block)}", position
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
    return head, "".join(f" {value}" for value in values), position


def _bad_data_byte(position: int) -> FormatError:
    return FormatError("bad_data_byte", f"before byte {position}: a data byte above 127")
