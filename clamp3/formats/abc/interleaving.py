"""Voices side by side in rows of one bar each, and back to one after the other."""

from collections.abc import Iterator

from clamp3.errors import FormatError
from clamp3.formats.abc.header import with_unit
from clamp3.formats.abc.lines import VOICE_SWITCH, filled_lines
from clamp3.formats.abc.voices import Voice, read_voices
from clamp3.formats.limits import DEFAULT_LIMITS, Limits

_LINE_WIDTH = 100


def interleave_abc(text: str, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Interleaved ABC of one tune in standard ABC: header lines, then one line per bar.

    Any line ends are read; every line of the result ends in `\\n`. Bar lines and, on the first
    line, inline fields and the opening bar line of each voice are kept; bars in which no voice
    has a note are cut at both ends. Interleaved ABC comes back as it is.

    Raises FormatError: `empty_file`, `several_tunes`, `no_voice` (no tune at all), `no_bars`,
    `unequal_bars` (voices of different lengths), `empty_piece` (no note anywhere), `too_large`.

    Source: sanderwood/clamp3@9016d2b preprocessing/abc/batch_interleaved_abc.py (abctoolkit).
    Differs: what the original refuses or garbles is read as ABC means it, because such files are
    common outside converted scores. Tunes without a line `V:1` (lead sheets, folk tunes, named
    voices) get the form that a converted score has: voices numbered from 1, each declared in the
    header (`V:1 treble`), only musical header fields. A voice may come in several portions or
    switch inline; field lines between the notes become inline fields; comments and continuation
    signs go, so do blocks of text and words behind the tune; two bar lines in a row become one; an
    unfinished last bar is closed with `|`; of `Z4` come four bars.
    """
    header, voices = read_voices(text, limits)
    columns = [_column(name, voice) for name, voice in voices.items()]
    rows = map("".join, zip(*columns, strict=True))
    return "\n".join([*header, *rows]) + "\n"


def deinterleave_abc(text: str) -> str:
    """Standard ABC that programs can show and play, from interleaved ABC.

    The voices follow one another, wrapped at bar lines near 100 columns. `X:1` is put first, and
    `L:1/8` where no unit length is given, since patches leave it out. Interleaving the result
    gives the same rows again.

    Raises FormatError: `not_interleaved` (no line starts with `[V:`), `unequal_bars` (a row lacks
    a voice).
    """
    lines = filled_lines(text)
    start = next((i for i, line in enumerate(lines) if line.startswith("[V:")), None)
    if start is None:
        raise FormatError("not_interleaved", "no line starts with [V:…], so there are no bar rows")
    header = [line for line in lines[:start] if not line.startswith("X:")]
    out = ["X:1", *with_unit(header, "1/8")]
    for name, segments in _segments(lines[start:]).items():
        out += [f"V:{name}", *_wrapped(segments)]
    return "\n".join(out) + "\n"


def _column(name: str, voice: Voice) -> list[str]:
    """The segments of a voice, one per row."""
    tag = f"[V:{name}]"
    texts = [voice.prefix + voice.left + voice.texts[0], *voice.texts[1:]]
    return [tag + text + barline for text, barline in zip(texts, voice.barlines, strict=True)]


def _segments(rows: list[str]) -> dict[str, list[str]]:
    """The segments of each voice in order of appearance."""
    columns: dict[str, list[str]] = {}
    for count, row in enumerate(rows, start=1):
        _, *pieces = VOICE_SWITCH.split(row)
        for name, segment in zip(pieces[::2], pieces[1::2], strict=True):
            columns.setdefault(name, []).append(segment.strip())
        missing = [name for name, column in columns.items() if len(column) != count]
        if missing:
            raise FormatError(
                "unequal_bars", f"row {count} has not exactly one segment of V:{missing[0]}"
            )
    return columns


def _wrapped(segments: list[str]) -> Iterator[str]:
    line = ""
    for segment in segments:
        if line and len(line) + len(segment) >= _LINE_WIDTH:
            yield line
            line = ""
        line += f" {segment}"
    if line:
        yield line
