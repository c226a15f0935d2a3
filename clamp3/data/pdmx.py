"""PDMX.csv to catalogue columns: the conventions of the file, its releases, and its faults.

The file has one row a score, `NA` for a missing value, `True` and `False`, and lists joined with
`-` (lower-case words in genres and tags; General MIDI programs, counted from 0, in tracks).
Rating 0 means "not rated". Releases differ: older ones have no `mid` column and call the last
subset `valid_mxl_pdf`.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from clamp3.data.csv_table import Cells, check_columns, read_cells
from clamp3.data.instruments import program_name
from clamp3.data.rejected import Rejected
from clamp3.data.sources import (
    STAGE,
    Parsed,
    SizesOf,
    clean_path,
    clean_text,
    file_sizes,
    file_stem,
)
from clamp3.data.texts import PieceFacts, PieceTexts, one_line_text, write_texts

COLLECTION = "pdmx"
_SUBSET = "subset:"
_OLD_NAMES = {"subset:all_valid": "subset:valid_mxl_pdf"}
_PATHS = ("path", "mxl", "mid")
_TEXTS = ("title", "song_name", "subtitle", "composer_name", "artist_name", "publisher", "license")
_COUNTS = ("complexity", "n_tracks", "song_length.bars")
_NUMBERS = ("notes_per_bar", "rating")
_REQUIRED = ("path", "mxl", *_TEXTS, "genres", "tags", "tracks", *_COUNTS, *_NUMBERS)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LARGEST_NUMBER = 1e9
_MISSING = ("", "NA", "nan", "NaN")  # also as pandas writes them

Reader = Callable[[str], object]  # raises ValueError for a bad cell
Columns = dict[str, list]
Fault = tuple[str, str]  # kind and reason
Faults = Iterator[tuple[int, Fault]]  # by row


def parse_pdmx(
    path: Path,
    folder: Path | str,
    *,
    subset: str = "all",
    check_files: bool = False,
    sizes_of: SizesOf = file_sizes,
) -> Parsed:
    """The catalogue columns of the usable pieces of a PDMX.csv, in its order, and the rejects.

    `folder` is what the paths in the file are relative to. The id is `pdmx/` and the file name
    of `path`, else `mxl`, else `mid`. The title is `title`, else `song_name` (the third column
    that the LoRA project asks for, `file_score_title`, exists in no release). Rows outside
    `subset` are left out, not rejected. With `check_files` a piece needs a score or a MIDI file
    where `sizes_of` looks, and `mxl_bytes` and `mid_bytes` are their sizes; otherwise both are
    None.

    Kinds of rejects: `bad_row` (wrong number of cells), `bad_value`, `bad_path`, `no_music`
    (names neither score nor MIDI), `duplicate_id` (the first one stays), `missing_files`,
    `no_text`. Raises DataError where the file as a whole is something else.
    """
    path = Path(path)
    names = check_columns(path, _REQUIRED, "PDMX.csv")
    flag = _subset_column(path, names, subset)
    cells = read_cells(path, names)
    columns, bad_cells = _read_columns(cells, _readers(names, folder))
    columns["id"] = [_piece_id(paths) for paths in zip(*map(columns.get, _PATHS), strict=True)]
    inside = [row for row, chosen in enumerate(columns[flag]) if chosen is not False]
    faults = {row: bad_cells[row] for row in inside if row in bad_cells}
    looked_for = [partial(_not_there, sizes_of)] if check_files else []
    for check in (partial(_lacking, flag), _duplicates, *looked_for, _without_text):
        faults.update(check(columns, [row for row in inside if row not in faults]))
    usable = [row for row in inside if row not in faults]
    rejected = [_reject(None, number, "bad_row", reason) for number, reason in cells.broken]
    for row, fault in sorted(faults.items()):
        rejected.append(_reject(columns["id"][row], cells.numbers[row], *fault))
    rows_in = len(cells.numbers) + len(cells.broken)
    left_out = rows_in - len(usable) - len(rejected)
    return Parsed(_catalogue_columns(columns, usable), rejected, rows_in, left_out)


def _subset_column(path: Path, names: list[str], subset: str) -> str:
    column = _SUBSET + subset
    if column not in names:
        column = _OLD_NAMES.get(column, column)
    check_columns(path, [column], f"a PDMX.csv with the subset {subset}")
    return column


def _piece_id(paths: tuple[str | None, ...]) -> str | None:
    named = next((path for path in paths if path), None)
    return named and f"{COLLECTION}/{file_stem(named)}"


def _reject(piece_id: str | None, number: int, kind: str, reason: str) -> Rejected:
    place = f"row {number}"
    return Rejected(piece_id or f"{COLLECTION}/{place}", STAGE, kind, f"{place}: {reason}")


def _readers(names: list[str], folder: Path | str) -> dict[str, Reader]:
    """How the cells of each column in use are read, missing ones apart."""
    readers: dict[str, Reader] = dict.fromkeys(_PATHS, partial(clean_path, folder=folder))
    readers |= dict.fromkeys(_TEXTS, clean_text)
    readers |= {"genres": _read_words, "tags": _read_words, "tracks": _read_programs}
    readers |= dict.fromkeys(_COUNTS, _read_count) | dict.fromkeys(_NUMBERS, _read_number)
    flags = ["license_conflict", *(name for name in names if name.startswith(_SUBSET))]
    return readers | dict.fromkeys(flags, _read_flag)


def _read_columns(cells: Cells, readers: dict[str, Reader]) -> tuple[Columns, dict[int, Fault]]:
    """The values, None where one is missing or bad, and the first bad cell of each row."""
    columns, faults = {}, {}
    for name, reader in readers.items():
        if name not in cells.table.column_names:
            columns[name] = [None] * len(cells.numbers)
            continue
        # Each distinct cell is read once; most columns have few.
        coded = cells.table[name].combine_chunks().dictionary_encode()
        codes = coded.indices.to_pylist()
        values, bad = _read_distinct(coded.dictionary.to_pylist(), reader)
        columns[name] = [values[code] for code in codes]
        kind = "bad_path" if name in _PATHS else "bad_value"
        for row in [row for row, code in enumerate(codes) if code in bad] if bad else []:
            faults.setdefault(row, (kind, f"{name}: {bad[codes[row]]}"))
    return columns, faults


def _read_distinct(cells: list[str], reader: Reader) -> tuple[list, dict[int, str]]:
    values, bad = [], {}
    for code, cell in enumerate(cells):
        value = None
        try:
            if "\0" in cell:
                raise ValueError(f"{cell!r} is not UTF-8 where \\x00 stands")
            if cell.strip() not in _MISSING:
                value = reader(cell.strip())
        except ValueError as error:
            bad[code] = str(error)
        values.append(value)
    return values, bad


def _read_words(cell: str) -> list[str]:
    return [word for word in cell.split("-") if word]


def _read_programs(cell: str) -> list[int]:
    programs = []
    for number in cell.split("-"):
        if not number.isdecimal():
            raise ValueError(f"{cell!r}; expected General MIDI programs such as 0-40-40")
        program_name(int(number))
        programs.append(int(number))
    return programs


def _read_number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell) or not 0 <= float(cell) <= _LARGEST_NUMBER:
        raise ValueError(f"{cell!r}; expected a number from 0 on")
    return float(cell)


def _read_count(cell: str) -> int:
    return int(_read_number(cell))  # pandas writes 1.0 in columns with gaps


def _read_flag(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError(f"{cell!r}; expected True or False")
    return cell.lower() == "true"


def _lacking(flag: str, columns: Columns, rows: list[int]) -> Faults:
    for row in rows:
        if columns[flag][row] is None:
            yield row, ("bad_value", f"no {flag}")
        elif not columns["mxl"][row] and not columns["mid"][row]:
            yield row, ("no_music", "names neither an mxl nor a mid file")


def _duplicates(columns: Columns, rows: list[int]) -> Faults:
    first = {}
    for row in rows:
        name = columns["id"][row]
        if first.setdefault(name, row) != row:
            yield row, ("duplicate_id", f"{name} stands in an earlier row")


def _not_there(sizes_of: SizesOf, columns: Columns, rows: list[int]) -> Faults:
    for kind in ("mxl", "mid"):
        sizes = sizes_of(columns[kind][row] for row in rows)
        columns[f"{kind}_bytes"] = [None] * len(columns["id"])
        for row, size in zip(rows, sizes, strict=True):
            columns[f"{kind}_bytes"][row] = size
    for row in rows:
        if columns["mxl_bytes"][row] is None and columns["mid_bytes"][row] is None:
            named = " and ".join(filter(None, (columns["mxl"][row], columns["mid"][row])))
            yield row, ("missing_files", f"{named} not found; are the archives unpacked?")


def _without_text(columns: Columns, rows: list[int]) -> Faults:
    """Write the texts of the rows into new columns; those of which nothing can be said, out."""
    for name in ("texts", "text", "artists"):
        columns[name] = [None] * len(columns["id"])
    for row in rows:
        composer, artist = columns["composer_name"][row], columns["artist_name"][row]
        artists = ", ".join(dict.fromkeys(filter(None, (composer, artist)))) or None
        facts = _facts(columns, row, artists)
        texts = write_texts(columns["id"][row], facts)
        columns["texts"][row] = texts
        columns["text"][row] = one_line_text(facts, composer=composer)
        columns["artists"][row] = artists
        if not any(texts) and not columns["text"][row]:
            yield row, ("no_text", "no title, no person, no genre, no instrument, no length")


def _facts(columns: Columns, row: int, artists: str | None) -> PieceFacts:
    return PieceFacts(
        title=columns["title"][row] or columns["song_name"][row],
        song=columns["song_name"][row],
        artists=artists,
        subtitle=columns["subtitle"][row],
        collection=columns["publisher"][row],
        genres=columns["genres"][row] or (),
        tags=columns["tags"][row] or (),
        programs=columns["tracks"][row] or (),
        complexity=columns["complexity"][row],
        bars=columns["song_length.bars"][row],
        tracks=columns["n_tracks"][row],
        notes_per_bar=columns["notes_per_bar"][row],
    )


def _catalogue_columns(columns: Columns, rows: list[int]) -> Columns:
    """The catalogue's columns of the usable rows."""

    def of(name: str, missing: object = None) -> list:
        values = columns.get(name) or [None] * len(columns["id"])
        return [missing if values[row] is None else values[row] for row in rows]

    programs = of("tracks", [])
    texts = of("texts")
    flags = {name.removeprefix(_SUBSET): of(name) for name in sorted(columns) if _SUBSET in name}
    return {
        "id": of("id"),
        "mxl_path": of("mxl"),
        "mid_path": of("mid"),
        "mxl_bytes": of("mxl_bytes"),
        "mid_bytes": of("mid_bytes"),
        "title": [title or name for title, name in zip(of("title"), of("song_name"), strict=True)],
        "artists": of("artists"),
        "genres": of("genres", []),
        "tags": of("tags", []),
        "instruments": [list(dict.fromkeys(map(program_name, tracks))) for tracks in programs],
        "programs": programs,
        **{name: [getattr(text, name) for text in texts] for name in PieceTexts._fields},
        "text": of("text"),
        "license": of("license"),
        "license_conflict": of("license_conflict"),
        "subsets": [[name for name in flags if flags[name][i]] for i in range(len(rows))],
        "complexity": of("complexity"),
        "bars": of("song_length.bars"),
        "tracks": of("n_tracks"),
        "rating": [rating or None for rating in of("rating")],
    }
