"""Standard ABC notation to interleaved ABC, the form in which scores reach the models, and back.

Standard ABC holds one voice after the other. Interleaved ABC holds header lines and then one line
per bar, in which every voice has its segment:

    [V:1]C2 E2 G4|[V:2]C,8|
    [V:1]c8|][V:2]C,8|]

Titles, composers, lyrics, credits, bar numbers and silent bars at either end are left out.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from clamp3.errors import FormatError

BARLINE = re.compile(r"(\|\|:|:\|\||\[\|\||:\|\]|\|\]:|:\[\||\|:|::|:\||\[\||\|\||\|\]|\|)")
QUOTED = re.compile(r'"[^"]*"')
DECORATION = re.compile(r"![^!]+!")
BRACKETED = re.compile(r"\[[^\]]+\]")

_DROPPED = re.compile(r"[XTCWwZ]:(?!\|)|%%MIDI")
_FIELD = re.compile(r"[A-Za-z]:(?!\|)")
_BAR_NUMBER = re.compile(r"%\d+$")
_BEFORE_COMMENT = re.compile(r'((?:[^"%\\]|\\.|"[^"]*")*)%')
_VOICE_SWITCH = re.compile(r"\[V:\s*([^\]\s]+)[^\]]*\]")
_METRE = re.compile(r"M:\s*(\d{1,9})\s*/\s*(\d{1,9})")
_KEY_CLEF = re.compile(r"K:.*\b((?:treble|bass|alto|tenor|perc)\S*)")
_VOLTA = re.compile(r"[0-9,.:-]*")
_LEFT_SILENT = frozenset("zZxX")
_NOTE = re.compile(r"[A-Ga-g]")
# Field lines inside the music that act on what follows; `K:D` becomes `[K:D]`.
_INLINE_FIELDS = frozenset("IKLMQ")
# Header fields that a converted score can have. All others are words about the piece.
_MUSICAL_FIELDS = frozenset("IKLMQUV")
_LINE_WIDTH = 100
_UNTIMED = re.compile(r'![^!]+!|"[^"]*"|\{[^}]*\}|\[[A-Za-z]:[^\]]*\]')
_TIMED = re.compile(
    r"\((?P<p>\d{1,9})(?::(?P<q>\d{0,9}))?(?::(?P<r>\d{0,9}))?"
    r"|(?:\[(?P<chord>[^\]]*)\]|[A-Ga-gxzXZ][,']*)"
    r"(?P<number>\d{0,9})(?P<slashes>/*)(?P<divisor>\d{0,9})"
)
_TUPLET_TIME = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}


class Voice(NamedTuple):
    """The bars of one voice: `texts[i]` is closed by `barlines[i]`; `prefix` and `left` open it."""

    prefix: str
    left: str
    texts: list[str]
    barlines: list[str]
    tail: str


class Misalignment(NamedTuple):
    """A bar (1 is the first row) whose length in units of `L:` differs from the first voice's."""

    bar: int
    voice: str
    units: Fraction
    expected_units: Fraction


def interleave_abc(text: str) -> str:
    """Interleaved ABC of one tune in standard ABC: header lines, then one line per bar.

    Any line ends are read; every line of the result ends in `\\n`. Bar lines and, on the first
    line, inline fields and the opening bar line of each voice are kept; bars in which no voice
    has a note are cut at both ends. Interleaved ABC comes back as it is.

    Raises FormatError: `empty_file`, `several_tunes`, `no_voice` (no tune at all), `no_bars`,
    `unequal_bars` (voices of different lengths), `empty_piece` (no note anywhere).

    Source: sanderwood/clamp3@9016d2b preprocessing/abc/batch_interleaved_abc.py (abctoolkit).
    Differs: what the original refuses or garbles is read as ABC means it, because such files are
    common outside converted scores. Tunes without a line `V:1` (lead sheets, folk tunes, named
    voices) get the form that a converted score has: voices numbered from 1, each declared in the
    header (`V:1 treble`), only musical header fields. A voice may come in several portions or
    switch inline; field lines between the notes become inline fields; comments and continuation
    signs go; two bar lines in a row become one; an unfinished last bar is closed with `|`.
    """
    header, voices = read_voices(text)
    rows = "\n".join(map("".join, zip(*_segments(voices), strict=True)))
    return "".join(line + "\n" for line in header) + rows + "\n"


def deinterleave_abc(text: str) -> str:
    """Standard ABC that programs can show and play, from interleaved ABC.

    The voices follow one another, wrapped at bar lines near 100 columns. `X:1` is put first, and
    `L:1/8` where no unit length is given, since patches leave it out. Interleaving the result
    gives the same rows again.

    Raises FormatError: `not_interleaved` (no line starts with `[V:`), `unequal_bars` (a row lacks
    a voice).
    """
    lines = [line for line in _unix(text).split("\n") if line.strip()]
    start = next((i for i, line in enumerate(lines) if line.startswith("[V:")), None)
    if start is None:
        raise FormatError("not_interleaved", "no line starts with [V:…], so there are no bar rows")
    header = [line for line in lines[:start] if not line.startswith("X:")]
    if not any(line.startswith("L:") for line in header):
        scores = sum(line.startswith("%%") for line in header)
        header.insert(scores, "L:1/8")
    out = ["X:1", *header]
    for name, segments in _columns(lines[start:]).items():
        out += [f"V:{name}", *_wrapped(segments)]
    return "\n".join(out) + "\n"


def alignment_warnings(text: str) -> list[Misalignment]:
    """The bars in which a voice is longer or shorter than the first voice, by row and voice.

    Takes standard or interleaved ABC. Such pieces are interleaved all the same. Grace notes do
    not count; groups of tuplets within 1/64 of a whole unit count as whole, because converted
    scores round odd lengths. Raises FormatError as `interleave_abc` does.
    """
    _, voices = read_voices(text)
    names, texts = list(voices), zip(*(voice.texts for voice in voices.values()), strict=True)
    found = []
    for bar, row in enumerate(texts, start=1):
        expected, *others = map(_bar_units, row)
        found += [
            Misalignment(bar, name, units, expected)
            for name, units in zip(names[1:], others, strict=True)
            if units != expected
        ]
    return found


def read_voices(text: str) -> tuple[list[str], dict[str, Voice]]:
    """Header lines (without line ends) and the voices of one tune, cut to the sounding bars.

    All voices have the same number of bars. The texts hold no line ends, comments, lyrics or
    words that contain bar lines. Raises FormatError as `interleave_abc` does.
    """
    lines = [line for line in _unix(text).split("\n") if line.strip()]
    if not lines:
        raise FormatError("empty_file", "the text is empty; expected one tune in ABC notation")
    _refuse_tunebook(lines)
    header, parts = _parts([line for line in lines if not _DROPPED.match(line)])
    voices = {name: _cut_bars(part) for name, part in parts.items()}
    _close_tails(voices)
    _refuse_unequal(voices)
    first, last = _sounding_range(voices)
    return header, {
        name: Voice(
            voice.prefix,
            voice.left,
            voice.texts[first:last],
            # The closing bar line of the piece survives the cut.
            [*voice.barlines[first : last - 1], voice.barlines[-1]],
            "",
        )
        for name, voice in voices.items()
    }


def _unix(text: str) -> str:
    text = text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _refuse_tunebook(lines: list[str]) -> None:
    tunes = sum(line.startswith("X:") for line in lines)
    keys = sum(line.startswith("K:") for line in lines)
    if tunes > 1 and keys > 1:
        raise FormatError(
            "several_tunes", f"found {tunes} tunes (lines X:); expected one: split the tune book"
        )


def _parts(lines: list[str]) -> tuple[list[str], dict[str, str]]:
    """Header lines and the raw text of each voice, in order of appearance."""
    start = _declared_start(lines)
    if start is not None:
        return [_clean_quotes(line) for line in lines[:start]], _voice_texts(lines[start:])
    start = _tune_start(lines)
    parts = _voice_texts(lines[start:], _last_voice(lines[:start]))
    numbers = {name: name for name in parts}
    if "1" not in parts:
        numbers = {name: str(i) for i, name in enumerate(parts, start=1)}
    declared = [line for line in lines[start:] if line.startswith("V:")]
    header = _plain_header(lines[:start] + declared, numbers)
    return header, {numbers[name]: part for name, part in parts.items()}


def _declared_start(lines: list[str]) -> int | None:
    """Index of the line `V:1` that opens the body, None where there is none.

    It is the last one before the first bar: a broken name in the header may look like music.
    """
    start = None
    for i, line in enumerate(lines):
        if line.strip() == "V:1":
            start = i
        elif "|" in line and line[0] != "%" and not _FIELD.match(line):
            break
    return start


def _tune_start(lines: list[str]) -> int:
    """Index of the first line of music in a tune whose body no line `V:1` opens."""
    for i, line in enumerate(lines):
        if line.startswith("[V:"):
            return i
    key = next((i for i, line in enumerate(lines) if line.startswith("K:")), None)
    if key is None:
        raise FormatError(
            "no_voice",
            f"found neither a voice (V:1) nor a key (K:) in {len(lines)} lines, the first being "
            f"{''.join(lines[:1])[:40]!r}; expected ABC notation",
        )
    for i in range(key, len(lines)):
        if not (_FIELD.match(lines[i]) or lines[i].startswith("%")):
            return i
    raise FormatError("empty_piece", "the tune has a header but no music after the key (K:)")


def _last_voice(header: list[str]) -> str:
    """The voice that is current at the end of the header; "1" where none is named."""
    names = [line[2:].split() for line in header if line.startswith("V:")]
    return names[-1][0] if names and names[-1] else "1"


def _plain_header(lines: list[str], numbers: dict[str, str]) -> list[str]:
    """The musical header lines, with voices renumbered and every voice declared."""
    out, declared = [], set()
    for line in lines:
        if line.startswith("V:"):
            name, _, properties = line[2:].strip().partition(" ")
            if not properties or name not in numbers or name in declared:
                continue
            declared.add(name)
            line = _declaration(numbers[name], properties)
        elif line.startswith(("%%score", "%%staves")):
            keyword, _, rest = line.partition(" ")
            line = f"{keyword} " + re.sub(
                r"[^\s()\[\]{}|*]+", lambda m: numbers.get(m[0], m[0]), rest
            )
        elif line[0] == "%" or (_FIELD.match(line) and line[0] not in _MUSICAL_FIELDS):
            continue
        out.append(_clean_quotes(line))
    clef = next((m[1] for m in map(_KEY_CLEF.match, out) if m), "treble")
    out += [_declaration(numbers[name], clef) for name in numbers if name not in declared]
    return out if any(line.startswith("L:") for line in out) else _with_unit(out)


def _with_unit(header: list[str]) -> list[str]:
    """The header with the unit length that ABC implies: 1/16 in metres below 3/4, else 1/8.

    It must be said, because models read scores without one as 1/8.
    """
    metre = next((_METRE.match(line) for line in header if line.startswith("M:")), None)
    short = metre is not None and 4 * int(metre[1]) < 3 * int(metre[2])
    scores = sum(line.startswith("%%") for line in header)
    return [*header[:scores], "L:1/16" if short else "L:1/8", *header[scores:]]


def _declaration(number: str, properties: str) -> str:
    """`V:1 treble nm="Flute"` from `clef=treble name="Flute"`."""
    properties = re.sub(r"\bclef\s*=\s*", "", properties)
    properties = re.sub(r"\b(?:sname|subname)\s*=", "snm=", properties)
    properties = re.sub(r"\bname\s*=", "nm=", properties)
    # A converted score ends a declaration without names by a space.
    return f"V:{number} {properties}" + ("" if '"' in properties else " ")


def _voice_texts(lines: list[str], current: str = "1") -> dict[str, str]:
    """The music of each voice as one text, in order of appearance."""
    parts: dict[str, list[str]] = {}
    for line in lines:
        if line[1:2] == ":" and _FIELD.match(line):
            if line[0] == "V":
                current = (line[2:].split() or [current])[0]
            elif line[0] in _INLINE_FIELDS:
                parts.setdefault(current, []).append(f"[{line.partition('%')[0].rstrip()}]")
        elif line[0] != "%" and not line.startswith("+:"):
            line = _clean_music(line)
            first, *rest = _VOICE_SWITCH.split(line) if "[V:" in line else [line]
            if first:
                parts.setdefault(current, []).append(first)
            for current, piece in zip(rest[::2], rest[1::2], strict=True):
                parts.setdefault(current, []).append(piece)
    texts = {name: "\n".join(part).strip() for name, part in parts.items()}
    sounding = {name: text for name, text in texts.items() if text}
    if not sounding:
        raise FormatError("empty_piece", "no voice holds any music")
    return sounding


def _clean_music(line: str) -> str:
    """A line of music without comment, bar number, continuation sign and dangerous words."""
    if "%" in line:
        line = _BAR_NUMBER.sub("", line)
        if "%" in line and (comment := _BEFORE_COMMENT.match(line)):
            line = comment[1]
    if line.endswith("\\"):
        line = line[:-1]
    return _clean_quotes(line)


def _clean_quotes(line: str) -> str:
    """The line without escaped quotes and without quoted words that hold a bar line.

    Source: abctoolkit's step before splitting. A line that loses words gets its escaped quotes
    back there; published inputs were made so.
    """
    if '"' not in line or _FIELD.match(line) or line[0] == "%":
        return line
    cleaned = line.replace('\\"', "")
    for words in QUOTED.findall(line):
        if "|" in words or "::" in words:
            line = cleaned = line.replace(words, "")
    return cleaned


def _cut_bars(part: str) -> Voice:
    """The bars of one voice's text.

    Digits at the start of a bar number an ending (`|1 … :|2 …`) and belong to the bar line before.
    """
    *pieces, tail = BARLINE.split(part)
    prefix, left, texts, barlines = "", "", [], []
    if pieces and not _without_fields(pieces[0]).strip():
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
    return Voice(prefix, left, texts, barlines, tail.strip().replace("\n", ""))


def _join_barlines(first: str, second: str) -> str:
    """One bar line for two between which nothing stands, such as `:|` and `|:`."""
    both = [line for line in (first, second) if line]
    closing = [line for line in both if line.startswith(":")]
    opening = [line for line in both if line.endswith(":")]
    if closing and opening and first != second:
        return "::"
    return max(closing or opening or both, key=len)


def _close_tails(voices: dict[str, Voice]) -> None:
    """Close the unfinished last bar. One that only some voices have is left out."""
    if all(voice.tail for voice in voices.values()):
        for voice in voices.values():
            voice.texts.append(voice.tail)
            voice.barlines.append("|")


def _refuse_unequal(voices: dict[str, Voice]) -> None:
    counts = {name: len(voice.texts) for name, voice in voices.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"V:{name} {count}" for name, count in counts.items())
        raise FormatError("unequal_bars", f"the voices have different numbers of bars: {found}")
    if not all(counts.values()):
        raise FormatError("no_bars", "found bar lines at most, but no bar with music in it")


def _sounding_range(voices: dict[str, Voice]) -> tuple[int, int]:
    """First bar in which some voice has more than rests, and one past the last with a note."""
    count = len(next(iter(voices.values())).texts)
    first, last = count, 0
    for voice in voices.values():
        first = next((i for i in range(first) if _opens(voice.texts[i])), first)
        last = next(
            (i + 1 for i in range(count - 1, last - 1, -1) if _sounds(voice.texts[i])), last
        )
    if first >= last:
        raise FormatError("empty_piece", f"none of the {count} bars holds a note")
    return first, last


def _opens(bar: str) -> bool:
    """Whether a bar counts as the beginning: a letter that is no rest, inline fields included."""
    bar = _without_annotations(DECORATION.sub("", bar))
    return any(c.isalpha() and c not in _LEFT_SILENT for c in bar)


def _sounds(bar: str) -> bool:
    """Whether a bar counts as an end: a letter that can be a note or a chord symbol."""
    return bool(_NOTE.search(_without_annotations(_without_fields(DECORATION.sub("", bar)))))


def _without_annotations(bar: str) -> str:
    for words in QUOTED.findall(bar):
        if words[1] in "^_<>@":
            bar = bar.replace(words, "")
    return bar


def _without_fields(bar: str) -> str:
    for field in BRACKETED.findall(bar):
        if field[1].isalpha() and field[2] == ":":
            bar = bar.replace(field, "")
    return bar


def _segments(voices: dict[str, Voice]) -> Iterator[list[str]]:
    """For each voice its segments, one per row."""
    for name, voice in voices.items():
        tag = f"[V:{name}]"
        column = [tag + t + b for t, b in zip(voice.texts, voice.barlines, strict=True)]
        column[0] = tag + voice.prefix + voice.left + voice.texts[0] + voice.barlines[0]
        yield column


def _columns(rows: list[str]) -> dict[str, list[str]]:
    """The segments of each voice in order of appearance."""
    columns: dict[str, list[str]] = {}
    for count, row in enumerate(rows, start=1):
        _, *pieces = _VOICE_SWITCH.split(row)
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


def _bar_units(bar: str) -> Fraction:
    """Length of a bar in units; broken rhythm moves time inside it and changes nothing.

    Every open tuplet is [ratio, notes still to come, units so far]; the outermost is the bar.
    """
    groups = [[Fraction(1), math.inf, Fraction(0)]]
    for token in _TIMED.finditer(_UNTIMED.sub("", bar).partition("&")[0]):
        if token["p"]:
            p = int(token["p"]) or 1
            q = int(token["q"] or _TUPLET_TIME.get(p, 2))
            groups.append([Fraction(q, p), int(token["r"] or p), Fraction(0)])
            continue
        groups[-1][2] += _note_units(token)
        for group in groups:
            group[1] -= 1
        while groups[-1][1] <= 0:
            _close_tuplet(groups)
    while len(groups) > 1:
        _close_tuplet(groups)
    return groups[0][2]


def _note_units(token: re.Match) -> Fraction:
    divisor = int(token["divisor"]) if token["divisor"] else 2 ** len(token["slashes"])
    units = Fraction(int(token["number"] or 1), divisor or 1)
    inner = token["chord"] and _TIMED.search(token["chord"])
    return units * _note_units(inner) if inner else units


def _close_tuplet(groups: list[list]) -> None:
    ratio, _, units = groups.pop()
    units *= ratio
    groups[-1][2] += round(units) if abs(units - round(units)) <= Fraction(1, 64) else units
