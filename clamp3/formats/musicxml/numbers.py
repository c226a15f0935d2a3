"""Numbers as MusicXML files really write them."""

import math
from fractions import Fraction


def read_int(text: str | None, default: int) -> int:
    """The integer in `text`, or `default` where there is none."""
    try:
        return int(text)
    except (TypeError, ValueError):
        pass
    try:
        return int(float(text))
    except (TypeError, ValueError, OverflowError):
        return default


def read_duration(text: str | None) -> int | Fraction:
    """A duration in divisions: an int, or a Fraction for the rare decimal one; 0 if unreadable."""
    try:
        return int(text)
    except (TypeError, ValueError):
        pass
    try:
        number = float(text)
    except (TypeError, ValueError):
        return 0
    return Fraction(number).limit_denominator(1024) if math.isfinite(number) else 0
