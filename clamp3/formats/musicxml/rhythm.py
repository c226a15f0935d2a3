"""Durations as ABC lengths: multiples of the unit note, an eighth."""

from fractions import Fraction

_LARGEST_DENOMINATOR = 64


def abc_length(length: Fraction) -> str:
    """`length` eighths: `` for 1, `2`, `3/2`, `/` for 1/2, `/4` for 1/4."""
    numerator, denominator = length.numerator, length.denominator
    if denominator > _LARGEST_DENOMINATOR:
        length = _rounded(length)
        numerator, denominator = length.numerator, length.denominator
    if denominator == 1:
        return "" if numerator == 1 else str(numerator)
    if numerator == 1:
        return "/" if denominator == 2 else f"/{denominator}"
    return f"{numerator}/{denominator}"


def _rounded(length: Fraction) -> Fraction:
    """The nearest length with a denominator ABC readers take."""
    whole = length.numerator // length.denominator
    if whole and length / whole < Fraction(11, 10):
        return Fraction(whole)
    return Fraction(round(length * _LARGEST_DENOMINATOR), _LARGEST_DENOMINATOR)
