"""The pieces to summarise: of a catalogue, a folder of JSON files, or JSON lines."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from clamp3.data.clamp2_manifests import clamp2_line, piece_name
from clamp3.data.rejected import Rejected
from clamp3.data.sources import distinct, guess_file, json_lines
from clamp3.errors import DataError
from clamp3.files import parse_json, read_table

STAGE = "summaries"
_SUFFIXES = (".parquet", ".json", ".jsonl")


class Piece(NamedTuple):
    """A piece as a line of CLaMP 2's layout, and the JSON file it stood in, if it had one alone."""

    id: str
    line: dict
    file: str | None = None  # relative to the folder of the source


class Pieces(NamedTuple):
    """The pieces in the order of the source, and what holds no piece."""

    found: list[Piece]
    rejected: list[Rejected]


def read_pieces(source: Path | Sequence[Path]) -> Pieces:
    """The pieces of a source, or of several one after the other.

    A part of the catalogue or a folder of parts gives its rows by their ids. A folder of `.json`
    files (looked for at any depth) gives a piece a file, called by its path. A `.jsonl` file, or
    `.json` with a list or with lines, gives a piece an object, called by its `id` or its first
    filepath, else by its place. Ids that come again get a number.

    Raises DataError where nothing of the kind is there.
    """
    sources = [source] if isinstance(source, str | Path) else source
    return _tell_apart(chain.from_iterable(_read(Path(each)) for each in sources))


def _read(source: Path) -> Iterator[Piece | Rejected]:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; expected a catalogue or JSON")
    if source.is_dir():
        parts = sorted(source.glob("part-*.parquet"))
        return _catalog(parts) if parts else _folder(source)
    if source.suffix not in _SUFFIXES:
        looks = guess_file(source)
        raise DataError(f"{source}: expected {', '.join(_SUFFIXES)}; it looks like {looks}")
    return _catalog([source]) if source.suffix == ".parquet" else _json_file(source)


def _catalog(parts: list[Path]) -> Iterator[Piece | Rejected]:
    for part in parts:
        table = read_table(part)
        if "id" not in table.column_names or "title" not in table.column_names:
            names = ", ".join(table.column_names)
            raise DataError(f"{part}: columns {names}; expected a part of the catalogue")
        for row in table.to_pylist():
            yield Piece(row["id"], clamp2_line(row))


def _folder(folder: Path) -> Iterator[Piece | Rejected]:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.json"))
    if not files:
        raise DataError(f"{folder}: neither parts of a catalogue (part-*.parquet) nor .json files")
    for file in files:
        name = os.fsencode(file).decode("utf-8", "replace")
        yield _piece(name.removesuffix(".json"), name, _json(folder / file), file)


def _json_file(path: Path) -> Iterator[Piece | Rejected]:
    whole = _json(path) if path.suffix == ".json" else None
    if isinstance(whole, list):
        rows = enumerate(whole, start=1)
    elif isinstance(whole, dict):
        rows = iter([(1, whole)])
    else:
        rows = json_lines(path)
    for number, row in rows:
        name = piece_name(row, f"line {number}") if isinstance(row, dict) else ""
        yield _piece(name, f"{path.name}/line {number}", row)


def _json(path: Path) -> object:
    """The value of a file; a sentence on what is wrong where it holds none."""
    try:
        return parse_json(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        return f"not JSON ({error})"


def _piece(name: str, place: str, row: object, file: str | None = None) -> Piece | Rejected:
    if isinstance(row, str):
        return Rejected(place, STAGE, "bad_row", row)
    if not isinstance(row, dict):
        return Rejected(place, STAGE, "bad_row", f"JSON {type(row).__name__}, expected an object")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair is no text that can be written
        return Rejected(place, STAGE, "bad_row", "not UTF-8")
    return Piece(name, row, file)


def _tell_apart(found: Iterable[Piece | Rejected]) -> Pieces:
    pieces, rejected, taken = [], [], {}
    for each in found:
        if isinstance(each, Rejected):
            rejected.append(each)
        else:
            pieces.append(each._replace(id=distinct(each.id, taken)))
    return Pieces(pieces, rejected)
