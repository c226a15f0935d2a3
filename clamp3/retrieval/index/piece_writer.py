"""Keeping in an index what can be shown and played of its pieces; `pieces` reads it."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from clamp3.errors import DataError
from clamp3.files import atomic_path
from clamp3.retrieval.index.rows import ID
from clamp3.retrieval.index.store import PIECES, Beside, beside
from clamp3.retrieval.labels import label_table

TITLE, ABC = "title", "abc"
MIDI, AUDIO = PATHS = ("midi", "audio")
SCHEMA = pa.schema([(name, pa.string()) for name in (ID, TITLE, ABC, *PATHS)])
ROWS_PER_BATCH = 1024


def relative_folders(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """The folders of the pieces' files as paths from the index.

    Raises DataError for one that does not exist.
    """
    for path in files:
        if not Path(path).is_dir():
            raise DataError(f"{path}: no such folder; expected the one that the ids are paths in")
    here = Path(folder).resolve()
    found = [Path(os.path.relpath(Path(path).resolve(), here)).as_posix() for path in files]
    return tuple(dict.fromkeys(found))


def read_pieces(path: Path) -> pa.Table:
    """A table id, title, abc (a text), midi and audio (paths), of which all but id may be missing.

    .csv, .tsv, .jsonl or .parquet; paths are from the table's own folder. Empty cells say nothing.
    Of several rows with an id the last one counts.

    Raises DataError where it cannot be read or has no column id.
    """
    table = label_table(Path(path))
    if ID not in table:
        raise DataError(f"{path}: columns {', '.join(map(str, table))}; expected id")
    columns = {
        name: [_text(cell) for cell in table[name]] if name in table else [None] * len(table)
        for name in SCHEMA.names
    }
    return _last_of_each(pa.table(columns, schema=SCHEMA))


def inside(path: Path, folders: Sequence[Path]) -> Path | None:
    """The file that the path leads to, if it lies in one of the folders, which are resolved.

    None for all else, whatever the path holds: `..`, links to elsewhere, NUL, names too long.
    """
    try:
        found = path.resolve()
        allowed = any(found.is_relative_to(folder) for folder in folders)
        return found if allowed and found.is_file() else None
    except (OSError, ValueError, RuntimeError):  # RuntimeError: links in a circle
        return None


def write_pieces(
    folder: Path,
    generation: int,
    files: Sequence[str],
    source: Path | pa.Table,
    before: Beside | None,
) -> Beside:
    """Bring the rows of a table into the index's own; those of the same id are replaced.

    `source`: see `read_pieces`; the paths of a table in memory are from the working folder.
    `files`: the folders that may be named, as paths from the index. Raises DataError where a path
    leads elsewhere, or to no file.
    """
    folder = Path(folder)
    if isinstance(source, pa.Table):
        table = _from_index(source, folder.resolve(), Path("pieces"), files)
    else:
        table = _from_index(read_pieces(source), folder.resolve(), Path(source), files)
    if before:
        table = _last_of_each(pa.concat_tables([open_table(folder / before.name), table]))
    path = folder / f"{PIECES}{generation:06d}.arrow"
    with atomic_path(path) as draft, pa.ipc.new_file(draft, SCHEMA) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=ROWS_PER_BATCH)
    return beside(path)


def open_table(path: Path) -> pa.Table:
    """The rows, mapped into memory. Raises DataError where the file is damaged."""
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: damaged ({str(error).splitlines()[0]})") from error
    if not table.schema.equals(SCHEMA):
        raise DataError(f"{path}: damaged (other columns than {', '.join(SCHEMA.names)})")
    return table


def _from_index(table: pa.Table, here: Path, source: Path, files: Sequence[str]) -> pa.Table:
    """The table with paths from the index."""
    folders = [(here / name).resolve() for name in files]
    for name in PATHS:
        paths = [
            cell and _path_from(here, source, cell, folders) for cell in table[name].to_pylist()
        ]
        table = table.set_column(SCHEMA.names.index(name), name, pa.array(paths, pa.string()))
    return table.cast(SCHEMA)


def _path_from(here: Path, source: Path, cell: str, folders: Sequence[Path]) -> str:
    found = inside(source.parent / cell, folders)
    if found is None:
        allowed = ", ".join(map(str, folders)) or "none"
        raise DataError(
            f"{source}: {cell!r}: no such file in the folders of the pieces' files ({allowed}); "
            "paths are from the table's folder, and --files names the folders"
        )
    return Path(os.path.relpath(found, here)).as_posix()


def _last_of_each(table: pa.Table) -> pa.Table:
    kept = ~pd.Index(table[ID].to_numpy(zero_copy_only=False)).duplicated(keep="last")
    return table.filter(pa.array(kept))


def _text(cell: object) -> str | None:
    missing = cell is None or cell is pd.NA or cell != cell  # NaN
    return None if missing or not str(cell).strip() else str(cell)
