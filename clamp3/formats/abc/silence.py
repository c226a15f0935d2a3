"""Where a piece begins and ends to sound."""

import re
from collections.abc import Sequence

from clamp3.formats.abc.lines import QUOTED

_DECORATION = re.compile(r"![^!]+!")
_INLINE_FIELD = re.compile(r"\[[^\W\d_]:[^\[\]]*\]")
_NOTE = re.compile(r"[A-Ga-g]")
_RESTS = frozenset("zZxX")


def sounding_range(rows: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """First bar in which a voice has more than rests, and one past the last bar with a note.

    `rows[i]` holds the texts of bar i in all voices. None where no bar is left between the two.
    """
    first = next((i for i, row in enumerate(rows) if any(map(_opens, row))), len(rows))
    last = next((i for i in range(len(rows), first, -1) if any(map(_sounds, rows[i - 1]))), first)
    return (first, last) if first < last else None


def without_fields(bar: str) -> str:
    """The bar without inline fields such as `[K:D]`."""
    return _INLINE_FIELD.sub("", bar) if "[" in bar else bar


def _opens(bar: str) -> bool:
    """Whether a bar counts as the beginning: a letter that is no rest, inline fields included."""
    bar = _without_annotations(_DECORATION.sub("", bar))
    return any(c.isalpha() and c not in _RESTS for c in bar)


def _sounds(bar: str) -> bool:
    """Whether a bar counts as an end: a letter that can be a note or a chord symbol."""
    return bool(_NOTE.search(_without_annotations(without_fields(_DECORATION.sub("", bar)))))


def _without_annotations(bar: str) -> str:
    return QUOTED.sub(lambda m: "" if m[0][1] in "^_<>@" else m[0], bar) if '"' in bar else bar
