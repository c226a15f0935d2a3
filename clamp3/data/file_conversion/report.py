"""The balance of a run, and its tables of what was rejected and skipped."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from clamp3.data.file_conversion.listing import Refusal
from clamp3.errors import ConfigError
from clamp3.files import write_text

REJECTED = "rejected.tsv"
SKIPPED = "skipped.tsv"
_HEAD = "path\tkind\treason\n"
# What would break a line or cannot be written as UTF-8, and the backslash that tells of it.
_ESCAPED = re.compile(r"[\\\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


@dataclass
class Report:
    """The balance: `made` and `standing` (there already) are out, the others named by id."""

    out: Path
    made: int = 0
    standing: int = 0
    rejected: dict[str, Refusal] = field(default_factory=dict)
    skipped: dict[str, Refusal] = field(default_factory=dict)

    @property
    def files_out(self) -> int:
        return self.made + self.standing

    @property
    def files_in(self) -> int:
        return self.files_out + len(self.rejected) + len(self.skipped)

    def __str__(self) -> str:
        """`in 120, out 117, rejected 3 (see converted/rejected.tsv)`."""
        line = f"in {self.files_in}, out {self.files_out}"
        line += f" ({self.standing} there already)" if self.standing else ""
        for word, rows, name in (
            ("rejected", self.rejected, REJECTED),
            ("skipped", self.skipped, SKIPPED),
        ):
            line += f", {word} {len(rows)}" if rows or word == "rejected" else ""
            line += f" (see {self.out / name})" if rows else ""
        return line


def remove_table(path: Path) -> None:
    """Take away the table of an earlier run, which tells nothing of this one."""
    if not os.path.lexists(path):
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            ours = file.readline() == _HEAD
    except OSError:
        ours = False
    if not ours:
        raise ConfigError(f"{path} is no table of convert's, and would be: move it away")
    path.unlink()


def write_table(path: Path, rows: dict[str, Refusal]) -> None:
    """Write the rows, sorted; nothing for none."""
    lines = ["\t".join(map(_cell, (name, *row))) + "\n" for name, row in sorted(rows.items())]
    if lines:
        write_text(path, _HEAD + "".join(lines))


def _cell(text: str) -> str:
    """The text on one line without tabs; bytes of a name that are no UTF-8 become `\\xff`."""
    return _ESCAPED.sub(_escaped, text)


def _escaped(match: re.Match) -> str:
    sign = match[0]
    if sign in _SHORT:
        return _SHORT[sign]
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
