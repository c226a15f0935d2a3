"""A tune's lines parted into its header and the music of each voice."""

from clamp3.errors import FormatError
from clamp3.formats.abc.header import plain_header
from clamp3.formats.abc.lines import FIELD, VOICE_SWITCH, clean_music, clean_quotes

# Field lines inside the music that act on what follows; `K:D` becomes `[K:D]`.
_INLINE_FIELDS = frozenset("IKLMQ")


def part_lines(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """Header lines and the text of each voice, in order of appearance.

    Where no line `V:1` opens the body, the voices are numbered from 1 unless one has that name.
    Raises FormatError: `no_voice`, `empty_piece`.
    """
    start = _declared_start(lines)
    if start is not None:
        return [clean_quotes(line) for line in lines[:start]], _voice_texts(lines[start:])
    start = _tune_start(lines)
    parts = _voice_texts(lines[start:], _last_voice(lines[:start]))
    numbers = {name: name for name in parts}
    if "1" not in parts:
        numbers = {name: str(i) for i, name in enumerate(parts, start=1)}
    declared = [line for line in lines[start:] if line.startswith("V:")]
    header = plain_header(lines[:start] + declared, numbers)
    return header, {numbers[name]: part for name, part in parts.items()}


def _declared_start(lines: list[str]) -> int | None:
    """Index of the line `V:1` that opens the body, None where there is none.

    It is the last one before the first bar: a broken name in the header may look like music. One
    before the key belongs to the header.
    """
    start, keyed = None, False
    for i, line in enumerate(lines):
        if line.strip() == "V:1":
            start = i
        elif line.startswith("K:") and not keyed:
            start, keyed = None, True
        elif _has_bars(line):
            break
    return start


def _has_bars(line: str) -> bool:
    return "|" in line and line[0] != "%" and not FIELD.match(line)


def _tune_start(lines: list[str]) -> int:
    """Index of the first line of music in a tune whose body no line `V:1` opens."""
    key = None
    for i, line in enumerate(lines):
        if line.startswith("[V:"):
            return i
        if key is None and line.startswith("K:"):
            key = i
        elif key is not None and _has_bars(line):
            break
    if key is None:
        raise FormatError(
            "no_voice",
            f"found neither a voice (V:1) nor a key (K:) in {len(lines)} lines, the first being "
            f"{''.join(lines[:1])[:40]!r}; expected ABC notation",
        )
    for i in range(key, len(lines)):
        if not (FIELD.match(lines[i]) or lines[i].startswith("%")):
            return i
    raise FormatError("empty_piece", "the tune has a header but no music after the key (K:)")


def _last_voice(header: list[str]) -> str:
    """The voice that is current at the end of the header; "1" where none is named."""
    names = [line[2:].split() for line in header if line.startswith("V:")]
    return names[-1][0] if names and names[-1] else "1"


def _voice_texts(lines: list[str], current: str = "1") -> dict[str, str]:
    """The music of each voice as one text, in order of appearance."""
    parts: dict[str, list[str]] = {}
    for line in lines:
        if line[1:2] == ":" and FIELD.match(line):
            if line[0] == "V":
                current = (line[2:].split() or [current])[0]
            elif line[0] in _INLINE_FIELDS:
                parts.setdefault(current, []).append(f"[{line.partition('%')[0].rstrip()}]")
        elif line[0] != "%" and not line.startswith("+:"):
            line = clean_music(line)
            first, *rest = VOICE_SWITCH.split(line) if "[V:" in line else [line]
            if first:
                parts.setdefault(current, []).append(first)
            for current, piece in zip(rest[::2], rest[1::2], strict=True):
                parts.setdefault(current, []).append(piece)
    texts = {name: "\n".join(part).strip() for name, part in parts.items()}
    sounding = {name: text for name, text in texts.items() if text}
    if not sounding:
        raise FormatError("empty_piece", "no voice holds any music")
    return sounding
