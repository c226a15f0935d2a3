"""From the text of a tune to its header and voices of equally many bars."""

import re
from typing import NamedTuple

from clamp3.errors import FormatError
from clamp3.formats.abc.lines import filled_lines
from clamp3.formats.abc.parts import part_lines
from clamp3.formats.abc.silence import sounding_range, without_fields
from clamp3.formats.limits import DEFAULT_LIMITS, Limits

_BARLINE = re.compile(r"(\|\|:|:\|\||\[\|\||:\|\]|\|\]:|:\[\||\|:|::|:\||\[\||\|\||\|\]|\|)")
_SILENT_BARS = re.compile(r'((?:"[^"]*"|![^!]*!|\[[A-Za-z]:[^\]]*\]|\s)*)([XZ])([1-9]\d{0,2})')
_MOST_BARS = 100_000
_VOLTA = re.compile(r"[0-9,.:-]*")
_DROPPED = re.compile(r"w:|[XTCWZ]:(?![|:])|%%MIDI")


class Voice(NamedTuple):
    """The bars of one voice: `texts[i]` is closed by `barlines[i]`; `prefix` and `left` open it."""

    prefix: str
    left: str
    texts: list[str]
    barlines: list[str]


def cut_bars(part: str) -> tuple[Voice, str]:
    """The bars of one voice's text, and what follows the last bar line.

    Digits at the start of a bar number an ending (`|1 … :|2 …`) and belong to the bar line before.
    Bars of silence under one number (`Z4`) are written one by one.
    Bar lines between which nothing stands become one.
    """
    *pieces, tail = _BARLINE.split(part)
    prefix, left, texts, barlines = "", "", [], []
    if pieces and not without_fields(pieces[0]).strip():
        prefix, left = pieces[0].strip().replace("\n", ""), pieces[1]
        pieces = pieces[2:]
    for raw, barline in zip(pieces[::2], pieces[1::2], strict=True):
        text = raw.strip()
        if text and (text[0] == ":" or text[0].isdecimal()):
            volta = _VOLTA.match(text[:-1])[0]
            text = text[len(volta) :].lstrip()
            if barlines:
                barlines[-1] += volta
            elif left:
                left += volta
        if text:
            text = text.replace("\n", "")
            bars = _bars_of(text) if len(texts) < _MOST_BARS else [text]
            texts += bars
            barlines += ["|"] * (len(bars) - 1) + [barline]
        elif barlines:
            barlines[-1] = _join_barlines(barlines[-1], barline)
        else:
            left = _join_barlines(left, barline)
    return Voice(prefix, left, texts, barlines), tail.strip().replace("\n", "")


def _bars_of(text: str) -> list[str]:
    """The bars that a text stands for: as many as it says for `Z4`, one for any other."""
    found = _SILENT_BARS.fullmatch(text)
    return [found[1] + found[2], *[found[2]] * (int(found[3]) - 1)] if found else [text]


def _join_barlines(first: str, second: str) -> str:
    """One bar line for two between which nothing stands, such as `:|` and `|:`."""
    both = [line for line in (first, second) if line]
    closing = [line for line in both if line.startswith(":")]
    opening = [line for line in both if line.endswith(":")]
    if closing and opening and first != second:
        return "::"
    return max(closing or opening or both, key=len)


def read_voices(text: str, limits: Limits = DEFAULT_LIMITS) -> tuple[list[str], dict[str, Voice]]:
    """Header lines (without line ends) and the voices of one tune, cut to the sounding bars.

    All voices have the same number of bars. The texts hold no line ends, comments, lyrics or
    words that contain bar lines. Raises FormatError as `interleave_abc` does.
    """
    if len(text) > limits.max_abc_characters:
        most = f"expected at most {limits.max_abc_characters}"
        raise FormatError("too_large", f"a text of {len(text)} characters; {most}")
    lines = filled_lines(text)
    if not lines:
        raise FormatError("empty_file", "the text is empty; expected one tune in ABC notation")
    _refuse_tunebook(lines)
    header, parts = part_lines([line for line in lines if not _DROPPED.match(line)])
    voices = _cut_voices(parts)
    _refuse_unequal(voices)
    rows = list(zip(*(voice.texts for voice in voices.values()), strict=True))
    sounding = sounding_range(rows)
    if sounding is None:
        raise FormatError("empty_piece", f"none of the {len(rows)} bars holds a note")
    return header, {name: _between(voice, *sounding) for name, voice in voices.items()}


def _refuse_tunebook(lines: list[str]) -> None:
    tunes = sum(line.startswith("X:") for line in lines)
    keys = sum(line.startswith("K:") for line in lines)
    if tunes > 1 and keys > 1:
        raise FormatError(
            "several_tunes", f"found {tunes} tunes (lines X:); expected one: split the tune book"
        )


def _cut_voices(parts: dict[str, str]) -> dict[str, Voice]:
    """The voices by name. An unfinished last bar is closed; one too many in some is left out."""
    voices, tails = zip(*map(cut_bars, parts.values()), strict=True)
    longest = max(len(voice.texts) for voice in voices)
    for voice, tail in zip(voices, tails, strict=True):
        if all(tails) or (tail and len(voice.texts) < longest):
            bars = _bars_of(tail)
            voice.texts.extend(bars)
            voice.barlines.extend("|" * len(bars))
    return dict(zip(parts, voices, strict=True))


def _refuse_unequal(voices: dict[str, Voice]) -> None:
    counts = {name: len(voice.texts) for name, voice in voices.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"V:{name} {count}" for name, count in counts.items())
        raise FormatError("unequal_bars", f"the voices have different numbers of bars: {found}")
    if not all(counts.values()):
        raise FormatError("no_bars", "found bar lines at most, but no bar with music in it")


def _between(voice: Voice, first: int, last: int) -> Voice:
    """The bars from `first` to before `last`; the closing bar line of the piece survives."""
    barlines = [*voice.barlines[first : last - 1], voice.barlines[-1]]
    return voice._replace(texts=voice.texts[first:last], barlines=barlines)
