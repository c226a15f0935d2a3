"""Numbers as MusicXML files really write them."""

import math
from fractions import Fraction
from functools import lru_cache

# The functions remember: a score writes the same few numbers half a million times.
_LARGEST = 10**9


@lru_cache(maxsize=1024)
def read_int(text: str | None, default: int) -> int:
    """The integer in `text` (a decimal one is cut), or `default` where there is none."""
    try:
        number = int(text)
    except (TypeError, ValueError):
        try:
            number = int(float(text))
        except (TypeError, ValueError, OverflowError):
            return default
    return number if abs(number) <= _LARGEST else default


@lru_cache(maxsize=1024)
def read_number(text: str | None) -> float:
    """The number in `text`; 0 where there is none."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) and abs(number) <= _LARGEST else 0.0


@lru_cache(maxsize=1024)
def read_positive(text: str | None) -> int | Fraction:
    """A duration in divisions: an int, or a Fraction for the rare decimal one; 0 if unreadable."""
    try:
        number = int(text)
    except (TypeError, ValueError):
        number = Fraction(read_number(text)).limit_denominator(1024)
    return number if 0 <= number <= _LARGEST else 0
