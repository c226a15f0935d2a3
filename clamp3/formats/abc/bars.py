"""The text of one voice cut at its bar lines."""

import re
from typing import NamedTuple

from clamp3.formats.abc.silence import without_fields

_BARLINE = re.compile(r"(\|\|:|:\|\||\[\|\||:\|\]|\|\]:|:\[\||\|:|::|:\||\[\||\|\||\|\]|\|)")
_VOLTA = re.compile(r"[0-9,.:-]*")


class Voice(NamedTuple):
    """The bars of one voice: `texts[i]` is closed by `barlines[i]`; `prefix` and `left` open it."""

    prefix: str
    left: str
    texts: list[str]
    barlines: list[str]


def cut_bars(part: str) -> tuple[Voice, str]:
    """The bars of one voice's text, and what follows the last bar line.

    Digits at the start of a bar number an ending (`|1 … :|2 …`) and belong to the bar line before.
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
            texts.append(text.replace("\n", ""))
            barlines.append(barline)
        elif barlines:
            barlines[-1] = _join_barlines(barlines[-1], barline)
        else:
            left = _join_barlines(left, barline)
    return Voice(prefix, left, texts, barlines), tail.strip().replace("\n", "")


def _join_barlines(first: str, second: str) -> str:
    """One bar line for two between which nothing stands, such as `:|` and `|:`."""
    both = [line for line in (first, second) if line]
    closing = [line for line in both if line.startswith(":")]
    opening = [line for line in both if line.endswith(":")]
    if closing and opening and first != second:
        return "::"
    return max(closing or opening or both, key=len)
