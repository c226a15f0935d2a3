"""The header that a converted score would have, for tunes written in other ways."""

import re

from clamp3.formats.abc.lines import FIELD, clean_quotes, without_comment

_METRE = re.compile(r"M:\s*(\d{1,9})\s*/\s*(\d{1,9})")
_KEY_CLEF = re.compile(r"K:.*\b((?:treble|bass|alto|tenor|perc)\S*)")
_VOICE_NAME = re.compile(r"[^\s()\[\]{}|*]+")
# Fields that a converted score can have. All others are words about the piece.
_MUSICAL_FIELDS = frozenset("IKLMQUV")


def plain_header(lines: list[str], numbers: dict[str, str]) -> list[str]:
    """The musical header lines, with every voice declared by its number.

    `numbers`: the number of each voice by its name.
    """
    out, declared = [], set()
    for line in lines:
        if "%" in line and line[0] != "%":
            line = without_comment(line).rstrip() or line
        if line.startswith("V:"):
            name, _, properties = line[2:].strip().partition(" ")
            if not properties or name not in numbers or name in declared:
                continue
            declared.add(name)
            line = _declaration(numbers[name], properties)
        elif line.startswith(("%%score", "%%staves")):
            keyword, _, rest = line.partition(" ")
            line = f"{keyword} " + _VOICE_NAME.sub(lambda m: numbers.get(m[0], m[0]), rest)
        elif line[0] == "%" or (FIELD.match(line) and line[0] not in _MUSICAL_FIELDS):
            continue
        elif not FIELD.match(line) and not any(kept.startswith("K:") for kept in out):
            continue  # words before the tune, or more of its history
        out.append(clean_quotes(line))
    clef = next((m[1] for m in map(_KEY_CLEF.match, out) if m), "treble")
    out += [_declaration(numbers[name], clef) for name in numbers if name not in declared]
    return with_unit(out, _implied_unit(out))


def with_unit(header: list[str], unit: str) -> list[str]:
    """The header with a unit length (`L:`), which is `unit` where it names none."""
    if any(line.startswith("L:") for line in header):
        return header
    directives = sum(line.startswith("%%") for line in header)
    return [*header[:directives], f"L:{unit}", *header[directives:]]


def _implied_unit(header: list[str]) -> str:
    """The unit length that ABC implies: 1/16 in metres below 3/4, else 1/8.

    It must be said, because models read scores without one as 1/8.
    """
    metre = next((_METRE.match(line) for line in header if line.startswith("M:")), None)
    return "1/16" if metre and 4 * int(metre[1]) < 3 * int(metre[2]) else "1/8"


def _declaration(number: str, properties: str) -> str:
    """`V:1 treble nm="Flute"` from `clef=treble name="Flute"`."""
    properties = re.sub(r"\bclef\s*=\s*", "", properties)
    properties = re.sub(r"\b(?:sname|subname)\s*=", "snm=", properties)
    properties = re.sub(r"\bname\s*=", "nm=", properties)
    # A converted score ends a declaration without names by a space.
    return f"V:{number} {properties}" + ("" if '"' in properties else " ")
