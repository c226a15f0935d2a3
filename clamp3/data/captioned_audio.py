"""Recordings with captions: a CSV or JSON lines beside a folder of sound, and their tables."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow as pa

from clamp3.config import Splits
from clamp3.data.csv_table import table_rows
from clamp3.data.rejected import write_rejected
from clamp3.data.shards import shard_of
from clamp3.data.sources import (
    Parsed,
    check_name,
    clean_path,
    clean_text,
    json_rows,
    parse_rows,
)
from clamp3.data.splits import split_of
from clamp3.errors import FormatError
from clamp3.files import write_jsonl, write_table

JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
SPLITS = ("train", "validation", "test")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "split", "audio_path", "title", "caption")]
)


def parse_captioned_audio(
    path: Path,
    folder: Path | str,
    collection: str,
    *,
    audio: str = "file",
    caption: str = "caption",
    name: str | None = None,
) -> Parsed:
    """The columns id, audio_path, title, caption of the usable recordings, in the file's order.

    `path` is a CSV with column names, or JSON lines (told by the suffix, see JSON_SUFFIXES).
    The column `audio` holds a path below `folder`, `caption` the text. The id is the collection and
    what the column `name` holds, or the path without its suffix where there is no such column:
    give one where a recording has several captions.

    Kinds of rejects: `bad_row`, `bad_value`, `duplicate_id` (the first one stays), `no_text`,
    `missing_files`; reasons name the row, as a spreadsheet counts, or the line. Raises DataError
    where the file as a whole is something else.
    """
    columns = [audio, caption, *([] if name is None else [name])]
    name_of = partial(_name_of, collection=collection, audio=audio, name=name)
    read_piece = partial(_read_piece, folder=folder, audio=audio, caption=caption)
    rows_of = json_rows if Path(path).suffix.lower() in JSON_SUFFIXES else table_rows
    rows = rows_of(path, columns, "captions of recordings")
    return parse_rows(rows, collection, name_of, read_piece)


def _name_of(row: dict, *, collection: str, audio: str, name: str | None) -> str:
    if name is not None:
        given = row.get(name)
        return f"{collection}/{check_name(str(given) if isinstance(given, int) else given)}"
    inside = PurePosixPath(_path(row.get(audio), "."))
    return f"{collection}/{inside.with_suffix('').as_posix()}"


def _read_piece(piece_id: str, row: dict, *, folder: Path | str, audio: str, caption: str) -> dict:
    said = clean_text(row.get(caption))
    if not said:
        raise FormatError("no_text", f"no text under {caption}")
    path = _path(row.get(audio), folder)
    if not Path(path).is_file():
        raise FormatError("missing_files", f"{path} not found; is all unpacked?")
    return {"audio_path": path, "title": clean_text(row.get("title")), "caption": said}


def _path(value: object, folder: Path | str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no path of a recording")
    return clean_path(value.strip(), folder)


def write_captioned_audio(
    parsed: Parsed,
    collection: str,
    parts: Sequence[Path],
    manifests: Path,
    rejected: Path,
    *,
    splits: Splits,
    seed: int,
    max_rejected_share: float,
) -> None:
    """Write what a reader of captioned recordings found, for the codes and for the training.

    Piece p lies in `parts[shard_of(p, len(parts))]`, each part sorted by id, with the columns of
    SCHEMA. To the folder `manifests` goes a manifest for each split, `<collection>-train.jsonl`,
    …, whose lines name the recording and have the caption as `description`. Which split a piece
    is in, its id decides.

    Raises DataError where more than `max_rejected_share` of the rows were refused (then all is
    written).
    """
    rows = [piece | {"split": split_of(piece["id"], splits, seed)} for piece in parsed.pieces()]
    rows.sort(key=lambda row: row["id"])
    for number, path in enumerate(parts):
        own = [row for row in rows if shard_of(row["id"], len(parts)) == number]
        write_table(path, pa.Table.from_pylist(own, schema=SCHEMA), dictionary=("split",))
    for split in SPLITS:
        lines = [_line(row) for row in rows if row["split"] == split]
        write_jsonl(manifests / f"{collection}-{split}.jsonl", lines)
    write_rejected(rejected, parsed.rejected)
    parsed.close(collection, max_rejected_share)


def _line(row: dict) -> dict:
    return {
        "id": row["id"],
        "filepaths": [row["audio_path"]],
        "title": row["title"],
        "description": row["caption"],
    }
