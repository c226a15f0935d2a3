"""parts.tsv: the tables of all parts of a store, in one small file that stands for them."""

import csv
import re
from pathlib import Path

from clamp3.errors import DataError
from clamp3.files import read_metadata, sha256_of, write_text

LISTING = "parts.tsv"
_PART = re.compile(r".*-of-(\d+)\.parquet$")
_COLUMNS = ["file", "rows", "sha256"]


def list_parts(folder: Path, count: int, listing: Path) -> None:
    """Write the name, rows and SHA-256 of every table of the folder's `count` parts, sorted.

    What needs all parts depends on this one small file: it changes when any of them does.
    """
    tables = sorted(Path(folder).glob(f"[!.]*-of-{count:05d}.parquet"))
    lines = [_COLUMNS, *(_described(table, listing.parent) for table in tables)]
    write_text(listing, "".join("\t".join(line) + "\n" for line in lines))


def _described(path: Path, root: Path) -> list[str]:
    rows = read_metadata(path).num_rows
    return [path.relative_to(root).as_posix(), str(rows), sha256_of(path)]


def listed_parts(listing: Path) -> tuple[list[Path], list[Path]]:
    """The tables of pieces and the tables of rejected pieces that a listing names, in its order.

    Raises DataError if it is no listing, or one that does not go to its end.
    """
    listing = Path(listing)
    try:
        with open(listing, encoding="utf-8", newline="") as file:
            header, *lines = [*csv.reader(file, delimiter="\t")] or [[]]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing}: not a readable listing ({error})") from error
    if header != _COLUMNS:
        raise DataError(f"{listing}: begins with {header}, expected the columns {_COLUMNS}")
    for line in lines:
        if len(line) != len(_COLUMNS) or not _PART.match(line[0]) or len(line[2]) != 64:
            raise DataError(f"{listing}: {line}, expected {_COLUMNS}; is the file damaged?")
    paths = [listing.parent / name for name, *_ in lines]
    rejected = [path for path in paths if path.name.startswith("rejected")]
    tables = [path for path in paths if path not in {*rejected}]
    count = max((int(_PART.match(path.name)[1]) for path in tables), default=0)
    for named in filter(None, (tables, rejected)):
        if len(named) < count:
            raise DataError(f"{listing}: names {len(named)} of {count} parts; is the file cut?")
    return tables, rejected
