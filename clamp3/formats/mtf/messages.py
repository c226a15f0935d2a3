"""Lines of MTF to mido's messages. The only module here that needs mido at import."""

import re
from collections.abc import Iterable, Iterator

import mido

from clamp3.errors import FormatError
from clamp3.formats.mtf.meta import TEXT_TYPES

_ESCAPE = re.compile(r"\\(?:[\\nrt]|x([0-9a-f]{2}))")
_UNESCAPED = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}


def read_messages(lines: Iterable[str]) -> Iterator[mido.Message | mido.MetaMessage]:
    """The messages of the lines after the first; `time` holds delta ticks.

    Raises FormatError: `bad_event`, with the number of the line.
    """
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
    if kind == "sequencer_specific":
        block, _, time = fields.rpartition(" ")
        return mido.MetaMessage(kind, time=int(time), data=_block(block))
    if kind == "unknown_meta":
        block, _, time = fields.rpartition(" ")
        code, _, block = block.partition(" ")
        return mido.midifiles.UnknownMetaMessage(int(code), _block(block), int(time))
    names, build = _fields_of(kind)
    values = fields.split()
    if len(values) != len(names):
        raise ValueError(f"{len(values)} values, expected {', '.join(names)}")
    pairs = zip(names, values, strict=True)
    return build(kind, **{name: _value(name, value) for name, value in pairs})


def _fields_of(kind: str) -> tuple[tuple[str, ...], type]:
    """Names of an event's fields in MTF's order, and mido's class for it."""
    if kind in mido.messages.SPEC_BY_TYPE:
        return ("time", *mido.messages.SPEC_BY_TYPE[kind]["value_names"]), mido.Message
    try:
        names = [name for name in vars(mido.MetaMessage(kind)) if name != "type"]
    except LookupError:
        raise ValueError("MIDI has no such event") from None
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
