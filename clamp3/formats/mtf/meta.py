"""Meta events of MIDI files as MTF words them, by mido's rules."""

import math
from collections.abc import Callable

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
END = "end_of_track "
TEXT_BY_CODE = dict(zip((1, 2, 3, 4, 5, 6, 7, 9), TEXT_TYPES, strict=True))

# By number of sharps from -7 to 7: majors begin at the first key, minors three fifths later.
_KEYS = ["Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#"]
_KEYS += ["G#", "D#", "A#"]
_FRAME_RATES = (24, 25, 29.97, 30)


def is_known(code: int) -> bool:
    """Whether MIDI defines a meta event of this code."""
    return code in TEXT_BY_CODE or code in _HEADS


def meta_head(code: int, block: bytes) -> str:
    """The line of a meta event up to its time, such as `set_tempo 500000 `.

    Raises IndexError or ValueError where the bytes do not fit the type.
    """
    if code in TEXT_BY_CODE:
        words = block.decode("latin-1").encode("unicode_escape").decode("ascii")
        return f"{TEXT_BY_CODE[code]} {words} "
    if code in _HEADS:
        return _HEADS[code](block)
    return f"unknown_meta {code} {tuple(block)} "


def _sequence_number(block: bytes) -> str:
    return f"sequence_number {block[0] << 8 | block[1] if block else 0} "


def _smpte_offset(block: bytes) -> str:
    hours, minutes, seconds, frames, sub_frames = block[:5]
    if minutes > 59 or seconds > 59 or sub_frames > 99:
        raise ValueError
    rate = _FRAME_RATES[hours >> 5]
    return f"smpte_offset {rate} {hours & 31} {minutes} {seconds} {frames} {sub_frames} "


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


_HEADS: dict[int, Callable[[bytes], str]] = {
    0x00: _sequence_number,
    0x20: lambda block: f"channel_prefix {block[0]} ",
    0x21: lambda block: f"midi_port {block[0] if block else 0} ",
    0x2F: lambda block: END,
    0x51: lambda block: f"set_tempo {block[0] << 16 | block[1] << 8 | block[2]} ",
    0x54: _smpte_offset,
    0x58: _time_signature,
    0x59: _key_signature,
    0x7F: lambda block: f"sequencer_specific {tuple(block)} ",
}
