"""What was written and from what: a file of lines that survives a kill at any moment.

A line is added before its output takes its place, and names the SHA-256 of both. So an output
that stands is known if and only if it is exactly what was once written there; whatever else has
its name was put there, or changed, by somebody else.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from clamp3.files import sha256_of


@dataclass(frozen=True)
class Record:
    """One output: `output` is its path in the folder, `source` the absolute path of the input."""

    output: str
    output_sha256: str
    source: str
    source_sha256: str
    target: str
    made_by: str

    def made_for(self, source: str, target: str) -> bool:
        """Whether the output is this source's in this form, of whatever content."""
        return (self.source, self.target) == (source, target)


def record_of(path: Path, known: dict[str, Record]) -> Record | None:
    """The record among `known`, by SHA-256, of the file that stands there; None for others."""
    if not known or path.is_symlink() or not path.is_file():
        return None
    try:
        return known.get(sha256_of(path))
    except OSError:
        return None


class Ledger:
    """The records of one folder, as far as they can be read; what cannot be is not there."""

    def __init__(self, path: Path):
        self._path = path
        self._by_output: dict[str, dict[str, Record]] = defaultdict(dict)
        self._by_source: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for line in self._lines():
            try:
                self._take(Record(**json.loads(line)))
            except (ValueError, TypeError):
                continue  # torn by a kill: its output never took its place

    def _lines(self) -> list[bytes]:
        try:
            return self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []

    def _take(self, record: Record) -> None:
        self._by_output[record.output][record.output_sha256] = record
        self._by_source[record.source, record.target][record.output] = None

    def of_output(self, output: str) -> dict[str, Record]:
        """What was written under this name, by the SHA-256 of its content."""
        return dict(self._by_output.get(output, {}))

    def wrote(self, output: str, path: Path) -> Record | None:
        """The record of the file at `path` if it is just as it was written under this name."""
        return record_of(path, self.of_output(output))

    def outputs_of(self, source: str, target: str) -> list[str]:
        """The names that this source's output of this form has had."""
        return list(self._by_source.get((source, target), {}))

    def add(self, records: Iterable[Record]) -> None:
        """Add the records, safe on the disk when this returns."""
        records = list(records)
        lines = b"".join(json.dumps(asdict(record)).encode() + b"\n" for record in records)
        with open(self._path, "ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":
                lines = b"\n" + lines
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        for record in records:
            self._take(record)


def _last_byte(file) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
