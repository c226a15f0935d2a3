"""Files that are either complete or not there: atomic writing, Parquet, JSON, hashes."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from clamp3.errors import DataError

ROWS_PER_GROUP = 8192  # text and metadata: compact, and one group still fits a cache


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to; it takes the place of `path` when the block ends well.

    Works for a file and for a folder (then the block creates the folder). After an exception or
    a kill `path` is as it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = workplace / path.name
        yield draft
        _flush(draft)
        if path.is_dir() and not path.is_symlink():
            os.replace(path, workplace / "replaced")
        os.replace(draft, path)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _flush(draft: Path) -> None:
    for file in [draft, *draft.rglob("*")] if draft.is_dir() else [draft]:
        if file.is_file():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
            os.chmod(file, 0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with its own line ends."""
    with atomic_path(path) as draft:
        draft.write_bytes(text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON in the order of its keys."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line; only one is in memory at a time."""
    with atomic_path(path) as draft, open(draft, "wb") as lines:
        for row in rows:
            lines.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8"))


def read_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number from 1, object) for each non-empty line.

    Raises DataError that names file and line where a line is not a JSON object.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{path}, line {number}: found {type(row).__name__}, expected a JSON object"
                )
            yield number, row


def write_table(path: Path, table: pa.Table, *, dictionary: Iterable[str] = ()) -> None:
    """Write a Parquet file whose bytes depend on the table alone.

    `dictionary` names the categorical columns. Pages carry checksums, so a flipped byte is found.
    """
    with atomic_path(path) as draft:
        pq.write_table(
            table,
            draft,
            compression="zstd",
            compression_level=3,
            row_group_size=ROWS_PER_GROUP,
            use_dictionary=list(dictionary),
            write_page_checksum=True,
        )


def read_table(paths: Path | Iterable[Path], columns: list[str] | None = None) -> pa.Table:
    """The rows of one or several Parquet files, in the order given.

    Raises DataError that names the file which cannot be read or lacks a column.
    """
    tables = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                tables.append(file.read(columns))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: not a readable Parquet file ({error})") from error
        missing = [name for name in columns or [] if name not in tables[-1].column_names]
        if missing:
            raise DataError(f"{path}: no column {', '.join(missing)}")
    if not tables:
        raise DataError("no Parquet file given: expected at least one part")
    return pa.concat_tables(tables)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
