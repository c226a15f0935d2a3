"""Durations as ABC lengths: multiples of the unit note, an eighth."""

import math
from fractions import Fraction
from functools import lru_cache

_LARGEST_DENOMINATOR = 64


@lru_cache(maxsize=4096)
def abc_length(
    ticks: int | Fraction, ticks_per_eighth: int, ratio: tuple[int, int] | None = None
) -> str:
    """The printed length of `ticks`, in a tuplet of (actual, normal) notes.

    One eighth is the empty string, and so is no length at all; others are `2`, `3/2`, `/` for
    1/2, `/4` for 1/4.
    """
    if not ticks:
        return ""
    length = Fraction(ticks) / ticks_per_eighth
    if ratio is not None:
        length *= Fraction(*ratio)
    if length.denominator > _LARGEST_DENOMINATOR:
        length = _rounded(length)
    numerator, denominator = length.numerator, length.denominator
    if denominator == 1:
        return "" if numerator == 1 else str(numerator)
    if numerator == 1:
        return "/" if denominator == 2 else f"/{denominator}"
    return f"{numerator}/{denominator}"


def _rounded(length: Fraction) -> Fraction:
    """The whole number of eighths just below, or else the nearest 1/64 of an eighth.

    Halfway between two it is the even one, but below a quarter of an eighth the upper one.
    """
    whole = length.numerator // length.denominator
    if 9 * length < 10 * whole:
        return Fraction(whole)
    parts = length * _LARGEST_DENOMINATOR
    nearest = round(parts) if length > Fraction(1, 4) else math.floor(parts + Fraction(1, 2))
    return Fraction(nearest, _LARGEST_DENOMINATOR)
