"""The lines of a tune, freed of what the models do not read."""

import re

FIELD = re.compile(r"w:|[A-Za-z]:(?![|:])")  # lyrics may begin at the second bar
# Possessive and without a second bracket: no text is long enough to search for ever.
VOICE_SWITCH = re.compile(r"\[V:\s*+([^\[\]\s]++)[^\[\]]*+\]")
QUOTED = re.compile(r'"[^"]*"')

_BAR_NUMBER = re.compile(r"%\d+$")
_BEFORE_COMMENT = re.compile(r'((?:[^"%\\]|\\.|"[^"]*")*)%')
_TEXT_BLOCK = re.compile(r"^%%begin(\w+).*?(?:^%%end\1\b[^\n]*\n?|\Z)", re.MULTILINE | re.DOTALL)
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n")
_TUNE = re.compile(r"^(?:[KVX]:|\[V:)", re.MULTILINE)


def filled_lines(text: str) -> list[str]:
    """The lines that hold more than blanks, without line ends of any kind.

    Blocks of text (`%%begintext`) go, and so does what stands behind an empty line after the last
    bar line: an empty line ends a tune, but many files have some inside.
    """
    text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "%%begin" in text:
        text = _TEXT_BLOCK.sub("", text)
    end = _EMPTY_LINE.search(text, text.rfind("|")) if "|" in text else None
    if end and not _TUNE.search(text, end.start()):
        text = text[: end.start()]
    return [line for line in text.split("\n") if line.strip()]


def clean_music(line: str) -> str:
    """A line of music without comment, bar number, continuation sign and dangerous words."""
    if "%" in line:
        line = without_comment(_BAR_NUMBER.sub("", line))
    kept = line.rstrip()
    return clean_quotes(kept[:-1] if kept.endswith("\\") else line)


def without_comment(line: str) -> str:
    """The line up to a `%` that is neither quoted nor escaped."""
    comment = _BEFORE_COMMENT.match(line) if "%" in line else None
    return comment[1] if comment else line


def clean_quotes(line: str) -> str:
    """The line without escaped quotes and without quoted words that hold a bar line.

    Source: abctoolkit's step before splitting. A line that loses words gets its escaped quotes
    back there; published inputs were made so.
    """
    if '"' not in line or FIELD.match(line) or line[0] == "%":
        return line
    kept = QUOTED.sub(lambda m: "" if "|" in m[0] or "::" in m[0] else m[0], line)
    return kept if kept != line else line.replace('\\"', "")
