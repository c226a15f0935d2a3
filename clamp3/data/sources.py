"""What the readers of foreign data sets share: rows found, paths, JSON lines, and good guesses."""

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from clamp3.data.rejected import Rejected, close_step
from clamp3.errors import DataError, FormatError

STAGE = "parse"
_LINE_ENDS = ("\n", "\r")
# NaN is how pandas writes what is missing.
JSON = json.JSONDecoder(parse_constant=lambda name: None if name == "NaN" else float(name))
_PATHS_A_TASK = 2000
_STAT_THREADS = 8  # a network file system answers many at once

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive (or .mxl or .xlsx)",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd file: unpack it first",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"MThd": "a MIDI file",
    b"\xff\xfe": "UTF-16 text, as spreadsheets save it: save it as UTF-8",
    b"\xfe\xff": "UTF-16 text, as spreadsheets save it: save it as UTF-8",
    b"version https://git-lfs": "a Git LFS pointer: the data itself was not downloaded",
    b"[": "a JSON array: one object a line is expected",
    b"<": "an HTML or XML page, perhaps of a failed download",
}
# Keys or columns that give a data set away, the most telling first.
_DATA_SETS = (
    ({"leadsheet"}, "WikiMT-X (wikimt-x-public.jsonl)"),
    ({"location", "caption"}, "MidiCaps (train.json)"),
    ({"filepaths", "summary_en"}, "a training manifest of CLaMP 2"),
    ({"filepaths"}, "a training manifest of CLaMP 3"),
    ({"translations", "scene"}, "M4-RAG's metadata, which name no music files"),
    ({"genre", "description", "artist"}, "WikiMT (wikimusictext.jsonl)"),
    ({"mxl", "metadata", "is_user_pro"}, "PDMX.csv"),
    ({"facet:all"}, "the first release of PDMX.csv, which names no MusicXML files"),
    ({"ytid", "caption"}, "MusicCaps (musiccaps-public.csv)"),
    ({"caption_id", "track_id"}, "the Song Describer data set (song_describer.csv)"),
    ({"video_url", "audio_url"}, "the suno data set (suno.jsonl)"),
)


Row = tuple[str, dict | str]  # where it stands; its values, or a sentence on what is wrong
NameOf = Callable[[dict], str]
ReadPiece = Callable[[str, dict], dict | None]
SizesOf = Callable[[Iterable[str | None]], list[int | None]]  # as `file_sizes`


class Parsed(NamedTuple):
    """What a source holds: `columns[name][row]` of the usable pieces, the rejected rows, and the
    balance `rows_in == usable + rejected + left_out` (left out on purpose, such as by subset, or
    because an earlier row already has the piece)."""

    columns: dict[str, list]
    rejected: list[Rejected]
    rows_in: int
    left_out: int

    def pieces(self) -> list[dict]:
        """The usable pieces, each by the names of the columns."""
        rows = zip(*self.columns.values(), strict=True)
        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def close(self, collection: str, max_rejected_share: float) -> None:
        """Check the balance and the share of rejects. Raises DataError as `close_step` does."""
        close_step(
            f"{STAGE} {collection}",
            self.rejected,
            rows_in=self.rows_in,
            rows_out=len(self.columns.get("id", [])),
            left_out=self.left_out,
            max_rejected_share=max_rejected_share,
        )


def as_columns(pieces: Collection[dict]) -> dict[str, list]:
    """The `columns` of pieces that have the same keys; nothing for no pieces."""
    names = next(iter(pieces), {})
    return {name: [piece[name] for piece in pieces] for name in names}


def require_file(path: Path, what: str) -> None:
    """Raise DataError unless `path` is a file with something in it; `what` was expected there."""
    if not path.exists():
        raise DataError(f"{path}: no such file; expected {what}")
    if path.is_dir():
        raise DataError(f"{path}: a folder; expected {what}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: empty; expected {what}, perhaps a download stopped short")


def guess_file(path: Path) -> str:
    """What a file looks like, such as `a gzip file: unpack it first`; never raises on content."""
    with open(path, "rb") as file:
        start = file.read(1 << 16).removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, name in _MAGIC.items():
        if start.startswith(magic):
            return name
    line = start.decode("utf-8", errors="replace").splitlines()[0] if start else ""
    if line.startswith("{"):
        return _guess_json(line)
    return _guess_table(line)


def _guess_json(line: str) -> str:
    # The line may be cut or broken, so its keys are looked for as text.
    return _known(set(re.findall(r'"(\w+)"\s*:', line))) or "JSON lines of an unknown data set"


def _guess_table(line: str) -> str:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            return f"a table separated by {name}: export it with commas"
    columns = next(csv.reader([line]), []) if line else []
    if columns and columns[0].startswith("./"):
        return "a table without its first line, the column names"
    return _known(set(columns)) or "text that is neither JSON nor a known table"


def _known(names: set[str]) -> str | None:
    return next((name for keys, name in _DATA_SETS if keys <= names), None)


def json_lines(path: Path) -> Iterator[tuple[int, dict | str]]:
    """Yield (line number from 1, object) for each non-empty line; for a line that holds no JSON
    object, a sentence that says so stands in the object's place."""
    return ((line.number, line.content) for line in placed_json_lines(path))


class PlacedLine(NamedTuple):
    """A line of JSON lines: its number from 1, its bytes and where they begin, what they say."""

    number: int
    start: int
    data: bytes
    content: dict | str


def placed_json_lines(path: Path) -> Iterator[PlacedLine]:
    """The lines of `json_lines`, and where in the file they lie."""
    start = 0
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as lines:
        for number, line in enumerate(lines, start=1):
            data = line.encode("utf-8", "surrogateescape")
            if line.strip():
                text = line.rstrip("\r\n") + "\n" if line.endswith(_LINE_ENDS) else line
                yield PlacedLine(number, start, data, _json_object(text.removeprefix("\ufeff")))
            start += len(data)


def _json_object(line: str) -> dict | str:
    try:
        line.encode("utf-8")
        row = JSON.decode(line)
        if "\\ud" in line.lower():  # half of a surrogate pair is no text that can be written
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return "not UTF-8"
    except (ValueError, RecursionError) as error:  # ValueError: also a number too long to read
        return f"not JSON ({error})"
    return row if isinstance(row, dict) else f"JSON {type(row).__name__}, expected an object"


def json_rows(path: Path, keys: Collection[str], what: str) -> Iterator[Row]:
    """(`line 7`, object or what is wrong) of each line of a JSON-lines data set.

    Without `keys` a line is none of this data set: where no line has them, the file is something
    else, and DataError at the end says what it looks like. `what` is what was expected. Raises
    DataError at once for no file at all.
    """
    require_file(Path(path), what)
    return _json_rows(Path(path), keys)


def _json_rows(path: Path, keys: Collection[str]) -> Iterator[Row]:
    known = False
    for number, line in json_lines(path):
        known = known or (isinstance(line, dict) and line.keys() >= set(keys))
        yield f"line {number}", line
    if not known:
        needed = " and ".join(sorted(keys))
        raise DataError(
            f"{path}: no line is an object with {needed}. It looks like {guess_file(path)}"
        )


def parse_rows(
    rows: Iterable[Row], collection: str, name_of: NameOf, read_piece: ReadPiece
) -> Parsed:
    """The pieces of rows, in their order: (place such as `line 7`, the row or what is wrong).

    `name_of` gives the id of a row, `read_piece` what is known of the piece (None: left out on
    purpose); both raise FormatError or ValueError (a `bad_value`) for a row that cannot be used.
    """
    pieces, rejected, rows_in, left_out = {}, [], 0, 0
    for place, row in rows:
        rows_in += 1
        piece_id = f"{collection}/{place}"
        try:
            if isinstance(row, str):
                raise FormatError("bad_row", row)
            piece_id = name_of(row)
            piece = read_piece(piece_id, row)
            if piece is None:
                left_out += 1
                continue
            if piece_id in pieces:
                raise FormatError("duplicate_id", f"{piece_id} stands in an earlier line")
            pieces[piece_id] = {"id": piece_id, **piece}
        except (FormatError, ValueError) as error:
            kind = error.kind if isinstance(error, FormatError) else "bad_value"
            rejected.append(Rejected(piece_id, STAGE, kind, f"{place}: {error}"))
    return Parsed(as_columns(pieces.values()), rejected, rows_in, left_out)


def distinct(name: str, taken: dict[str, int]) -> str:
    """The name, with a number where it is `taken` (`a`, `a-2`, `a-3`); from now on it is."""
    chosen = name
    while chosen in taken:
        taken[name] += 1
        chosen = f"{name}-{taken[name]}"
    taken[chosen] = 1
    return chosen


def clean_words(value: object) -> list[str]:
    """A list of texts; one text is a list of one, nothing is an empty list.

    Raises ValueError for anything else.
    """
    values = value if isinstance(value, list) else [value]
    return [word for word in map(clean_text, values) if word]


def check_name(name: object) -> str:
    """The name of a piece, fit for an id and a file name. Raises ValueError."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is no name of a piece")
    if "/" in name or "\\" in name or name.strip(".") == "":
        raise ValueError(f"{name!r} cannot be a file name")
    return name


def clean_text(value: object) -> str | None:
    """Text on one line without spare blanks; None for nothing, `NA` and empty text.

    Raises ValueError for what is not text.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"found {type(value).__name__}, expected text")
    text = " ".join(value.split())
    return None if text in ("", "NA") else text


def clean_path(value: str, folder: Path | str) -> str:
    """The path `./mxl/1/11/Qm.mxl` of a data set below `folder`: `<folder>/mxl/1/11/Qm.mxl`.

    Raises ValueError for paths that leave the folder or are not written for POSIX.
    """
    if "\\" in value:
        raise ValueError(f"{value!r} has backslashes; expected a path such as ./mxl/1/11/Qm.mxl")
    if value.startswith(("/", "~")) or re.match(r"[A-Za-z]+:", value):
        raise ValueError(f"{value!r} is absolute; expected a path below {folder}")
    if not value.isprintable():
        raise ValueError(f"{value!r} has control characters")
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{value!r} has '..' and so may leave {folder}")
    if not parts or value.endswith("/"):
        raise ValueError(f"{value!r} names no file")
    return "/".join([str(folder).rstrip("/"), *parts])


def file_stem(path: str) -> str:
    """`Qm1` of `./mxl/1/11/Qm1.mxl`: the name without folder and last suffix."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if "." in name else name


def file_sizes(paths: Iterable[str | None]) -> list[int | None]:
    """The size in bytes of each file; None where there is no path or no regular file."""
    rest = iter(paths)
    tasks = iter(lambda: list(islice(rest, _PATHS_A_TASK)), [])
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        return [size for sizes in pool.map(_sizes, tasks) for size in sizes]


def _sizes(paths: list[str | None]) -> list[int | None]:
    return [path and _size(path) for path in paths]


def _size(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None
