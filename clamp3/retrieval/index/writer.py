"""Making an index, adding to it and deleting from it; see `store` for the files.

Everything new is written beside what there is; one renaming of the manifest makes it count. A
writer that is killed before leaves the index as it was.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.index.ann import AnnSettings, with_ann
from clamp3.retrieval.index.filters import Condition, parse_conditions, refuse_unknown
from clamp3.retrieval.index.map import write_map
from clamp3.retrieval.index.merge import merged_where_due
from clamp3.retrieval.index.piece_writer import relative_folders, write_pieces
from clamp3.retrieval.index.reader import Index, open_index
from clamp3.retrieval.index.rows import KEY, Metadata
from clamp3.retrieval.index.store import (
    MANIFEST,
    PREFIXES,
    Manifest,
    Segment,
    is_own,
    read_manifest,
    remove_leftovers,
    write_manifest,
    writing,
)
from clamp3.retrieval.index.update import Table, Update, without_rows
from clamp3.retrieval.vector_tables import vector_tables


@dataclass(frozen=True)
class Changes:
    """How many rows were added, replaced, as before, and how many the index has now.

    `repeated`: rows that were left out because a later one has the same id, modality and field.
    """

    added: int
    replaced: int
    unchanged: int
    repeated: int
    rows: int


def build_index(
    folder: str | Path,
    sources: Sequence[str | Path],
    *,
    metadata: Sequence[str | Path] = (),
    ann: AnnSettings | None = None,
    files: Sequence[str | Path] = (),
    pieces: str | Path | pa.Table | None = None,
) -> Changes:
    """Make the folder an index of all rows of the tables; an index that is there is replaced.

    `sources`: as for `vector_tables`; `metadata`: tables with a column id, file or path, whose
    other columns become properties to filter by; `ann`: prepare the approximate search too;
    `files`: folders that ids are paths in, and which files of pieces may lie in; `pieces`: what can
    be shown and played, see `piece_writer.read_pieces`.

    Raises DataError where there are no rows, or rows of two models; the folder is as before then.
    """
    folder = Path(folder)
    _refuse_foreign(folder)
    tables = _tables(sources)
    known = Metadata([Path(path) for path in metadata])
    with _writing(folder):
        generation = _next_generation(folder)
        update = Update(folder, generation, tables[0].width, known, None)
        new = update.write(tables)
        if new is None:
            raise DataError(f"{', '.join(map(str, sources))}: no rows to make an index of")
        if ann is not None:
            new = with_ann(folder, new, tables[0].width, tables[0].origin.space, ann)
        manifest = Manifest(
            generation=generation,
            space=tables[0].origin.space,
            fingerprints=_fingerprints(tables),
            width=tables[0].width,
            segments=(new,),
        )
        manifest = _with_pieces(folder, manifest, files, pieces)
        manifest = manifest.model_copy(update={"map": write_map(folder, manifest)})
        return _commit(folder, manifest, update.counts)


def add_to_index(
    folder: str | Path,
    sources: Sequence[str | Path],
    *,
    metadata: Sequence[str | Path] = (),
    files: Sequence[str | Path] = (),
    pieces: str | Path | pa.Table | None = None,
) -> Changes:
    """Bring all rows of the tables into the index.

    A row of the same id, modality and field is replaced; what was known of it stays where the
    tables say nothing. What is as before is not written again. `files` and `pieces` as for
    `build_index`, beside those that there are.

    Raises DataError for vectors of another model or width; the index is as before then.
    """
    folder = Path(folder)
    read_manifest(folder)  # before a lock is put into a folder that is no index
    tables = _tables(sources)
    known = Metadata([Path(path) for path in metadata])
    with _writing(folder):
        index = open_index(folder)
        for table in tables:
            index.refuse_other(table.origin.space, table.path)
        _refuse_width(index.manifest.width, tables)
        generation = _next_generation(folder)
        update = Update(folder, generation, index.manifest.width, known, index)
        new = update.write(tables)
        segments = _without(folder, index, update.deleted, generation)
        manifest = index.manifest.model_copy(
            update={
                "generation": generation,
                "fingerprints": _fingerprints(tables, index.manifest.fingerprints),
                "segments": (*segments, new) if new else segments,
            }
        )
        manifest = _with_pieces(folder, manifest, files, pieces)
        told = manifest.files != index.manifest.files or pieces is not None
        if new is None and not told and not any(len(rows) for rows in update.deleted):
            return Changes(*update.counts, rows=len(index))
        return _commit(folder, manifest, update.counts)


def delete_from_index(
    folder: str | Path, ids: Sequence[str] = (), *, where: Sequence[str | Condition] = ()
) -> int:
    """Delete the rows that have one of the ids, and that meet the conditions; returns how many.

    Raises DataError where an id has no row, ConfigError where neither is given; nothing is deleted
    then.
    """
    folder = Path(folder)
    conditions = parse_conditions(where)
    if not ids and not conditions:
        raise ConfigError("nothing to delete: expected ids, or --where and a condition")
    read_manifest(folder)
    with _writing(folder):
        index = open_index(folder)
        refuse_unknown(conditions, [*KEY, *index.properties])
        deleted = _rows_to_delete(index, ids, conditions)
        count = sum(map(len, deleted))
        if count:
            generation = _next_generation(folder)
            segments = _without(folder, index, deleted, generation)
            changed = {"generation": generation, "segments": segments}
            _commit(folder, index.manifest.model_copy(update=changed), (0, 0, 0, 0))
        return count


def _rows_to_delete(
    index: Index, ids: Sequence[str], conditions: tuple[Condition, ...]
) -> list[np.ndarray]:
    wanted, missing = set(ids), dict.fromkeys(ids)
    deleted = []
    for segment in index.segments:
        rows = segment.rows_allowed(conditions)
        if ids:
            names = segment.rows.column("id").to_pylist()
            for row in segment.rows_allowed():
                missing.pop(names[row], None)
            rows = np.array([row for row in rows if names[row] in wanted], dtype=np.int64)
        deleted.append(rows)
    if missing:
        shown = ", ".join(map(repr, list(missing)[:3]))
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(f"{index.folder}: no row with the id {shown}{more}; nothing is deleted")
    return deleted


def _without(
    folder: Path, index: Index, deleted: Sequence[np.ndarray], generation: int
) -> tuple[Segment, ...]:
    """The segments without these rows; those without any row left out."""
    found = []
    for segment, rows in zip(index.segments, deleted, strict=True):
        entry = without_rows(folder, segment, rows, generation)
        if entry.live:
            found.append(entry)
    return tuple(found)


def _with_pieces(
    folder: Path,
    manifest: Manifest,
    files: Sequence[str | Path],
    pieces: str | Path | pa.Table | None,
) -> Manifest:
    folders = (*manifest.files, *relative_folders(folder, [Path(path) for path in files]))
    folders = tuple(dict.fromkeys(folders))
    changed: dict[str, object] = {"files": folders}
    if pieces is not None:
        source = pieces if isinstance(pieces, pa.Table) else Path(pieces)
        changed["pieces"] = write_pieces(
            folder, manifest.generation, folders, source, manifest.pieces
        )
    return manifest.model_copy(update=changed)


def _commit(folder: Path, manifest: Manifest, counts: tuple[int, int, int, int]) -> Changes:
    manifest = merged_where_due(folder, manifest)
    write_manifest(folder, manifest)
    return Changes(*counts, rows=sum(segment.live for segment in manifest.segments))


def _tables(sources: Sequence[str | Path]) -> list[Table]:
    tables = [table for source in sources for table in vector_tables(Path(source))]
    if not tables:
        raise DataError(
            f"{', '.join(map(str, sources)) or 'nothing'}: no tables of embeddings; `clamp3 embed` "
            "writes such tables"
        )
    first = tables[0]
    for table in tables:
        if table.origin.space != first.origin.space:
            raise DataError(
                f"{table.path}: embeddings of model {table.origin.space[:16]}, but {first.path} is "
                f"of model {first.origin.space[:16]}; one index holds vectors of one model"
            )
    _refuse_width(tables[0].width, tables)
    return tables


def _refuse_width(width: int, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.width != width:
            raise DataError(
                f"{table.path}: vectors of width {table.width}, expected {width} as in the others"
            )


def _fingerprints(tables: Sequence[Table], before: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(sorted({*before, *(table.origin.fingerprint for table in tables)}))


def _refuse_foreign(folder: Path) -> None:
    """An index is made in an empty or new folder, or takes the place of an index."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file; an index is a folder")
    other = [p.name for p in folder.iterdir() if not is_own(p.name)] if folder.exists() else []
    if other:
        raise ConfigError(
            f"{folder}: holds other files ({', '.join(sorted(other)[:3])}); name a new folder, or "
            "an index to replace"
        )


def _manifest_or_none(folder: Path) -> Manifest | None:
    """The manifest, if there is one that can be read; a damaged index is replaced all the same."""
    try:
        return read_manifest(folder)
    except DataError:
        return None


def _next_generation(folder: Path) -> int:
    """A number that no file of the folder has in its name: readers may still use them."""
    manifest = _manifest_or_none(folder)
    numbers = [manifest.generation if manifest else 0]
    for path in folder.iterdir():
        if path.name.startswith(PREFIXES):
            number = path.name.split("-")[1].split(".")[0]
            numbers += [int(number)] if number.isdigit() else []
    return max(numbers) + 1


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """The lock; nothing lies about before and after; what the disk refuses is told in one line."""
    try:
        with writing(folder):
            _tidy(folder)
            try:
                yield
            finally:
                _tidy(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _tidy(folder: Path) -> None:
    """Remove what stopped writers left; of a damaged index nothing, before another is there."""
    if not (folder / MANIFEST).exists():
        remove_leftovers(folder, None)
    elif manifest := _manifest_or_none(folder):
        remove_leftovers(folder, manifest)
