"""The lines of a tune, freed of what the models do not read."""

import re

FIELD = re.compile(r"[A-Za-z]:(?!\|)")
# Possessive and without a second bracket: no text is long enough to search for ever.
VOICE_SWITCH = re.compile(r"\[V:\s*+([^\[\]\s]++)[^\[\]]*+\]")
QUOTED = re.compile(r'"[^"]*"')

_BAR_NUMBER = re.compile(r"%\d+$")
_BEFORE_COMMENT = re.compile(r'((?:[^"%\\]|\\.|"[^"]*")*)%')


def filled_lines(text: str) -> list[str]:
    """The lines that hold more than blanks, without line ends of any kind."""
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [line for line in text.split("\n") if line.strip()]


def clean_music(line: str) -> str:
    """A line of music without comment, bar number, continuation sign and dangerous words."""
    if "%" in line:
        line = _BAR_NUMBER.sub("", line)
        if "%" in line and (comment := _BEFORE_COMMENT.match(line)):
            line = comment[1]
    return clean_quotes(line.removesuffix("\\"))


def clean_quotes(line: str) -> str:
    """The line without escaped quotes and without quoted words that hold a bar line.

    Source: abctoolkit's step before splitting. A line that loses words gets its escaped quotes
    back there; published inputs were made so.
    """
    if '"' not in line or FIELD.match(line) or line[0] == "%":
        return line
    kept = QUOTED.sub(lambda m: "" if "|" in m[0] or "::" in m[0] else m[0], line)
    return kept if kept != line else line.replace('\\"', "")
