"""From the text of a tune to its header and voices of equally many bars."""

import re

from clamp3.errors import FormatError
from clamp3.formats.abc.bars import Voice, cut_bars
from clamp3.formats.abc.lines import filled_lines
from clamp3.formats.abc.parts import part_lines
from clamp3.formats.abc.silence import sounding_range
from clamp3.formats.limits import DEFAULT_LIMITS, Limits

_DROPPED = re.compile(r"[XTCWwZ]:(?!\|)|%%MIDI")


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
    """The voices by name. An unfinished last bar is closed; one that only some have is left out."""
    voices, tails = zip(*map(cut_bars, parts.values()), strict=True)
    if all(tails):
        for voice, tail in zip(voices, tails, strict=True):
            voice.texts.append(tail)
            voice.barlines.append("|")
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
