"""musiccaps-public.csv to catalogue columns: ten-second clips of YouTube videos with captions."""

import ast
import re
from functools import partial
from pathlib import Path

from clamp3.data.csv_table import table_rows
from clamp3.data.music_folders import NamedFiles
from clamp3.data.sources import Parsed, check_name, clean_text, clean_words, parse_rows
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

_FLAGS = {"eval": "is_audioset_eval", "balanced": "is_balanced_subset"}
_COLUMNS = ("ytid", "start_s", "end_s", "aspect_list", "caption", *_FLAGS.values())
_ID_CHARACTERS = 11
_IN_BRACKETS = re.compile(rf"\[([\w-]{{{_ID_CHARACTERS}}})\]")


def parse_musiccaps(
    path: Path, folder: str | None = None, *, collection: str = "musiccaps", eval_only: bool = True
) -> Parsed:
    """The catalogue columns of the usable clips, in the order of the file, and the rejects.

    The id is the collection and the YouTube id. The data set has no sound: the recording is the
    sound file below `folder` (None: that of the CSV) whose name begins with the id or has it in
    brackets (`audio/<id>.wav`, `[<id>]-[30-40].wav`, `Title [<id>].opus`); clips without one are
    rejected.
    The caption is the description, the aspects are the tags. Clips of AudioSet's training set are
    left out unless `eval_only` is False.

    Kinds of rejects: `bad_row`, `bad_value`, `duplicate_id`, `no_text`, `missing_files`,
    `ambiguous_files`; reasons name the row. Raises DataError where the file is something else.
    """
    rows = table_rows(path, _COLUMNS, "MusicCaps (musiccaps-public.csv)")
    sounds = NamedFiles(folder or Path(path).parent, [FileFormat.AUDIO], _id_in)

    def name_of(row: dict) -> str:
        return f"{collection}/{check_name(row['ytid'].strip())}"

    return parse_rows(rows, collection, name_of, partial(_read_piece, sounds, eval_only))


def _id_in(name: str) -> str | None:
    bracketed = _IN_BRACKETS.search(name)
    start = bracketed[1] if bracketed else name[:_ID_CHARACTERS]
    return start if len(start) == _ID_CHARACTERS else None


def _read_piece(sounds: NamedFiles, eval_only: bool, piece_id: str, row: dict) -> dict | None:
    subsets = [name for name, column in _FLAGS.items() if _flag(row, column)]
    start, end = (_seconds(row, column) for column in ("start_s", "end_s"))
    if end <= start:
        raise ValueError(f"end_s is {end:g}, expected more than start_s, {start:g}")
    aspects, caption = _aspects(row["aspect_list"]), clean_text(row["caption"])
    if eval_only and "eval" not in subsets:
        return None
    if not caption and not aspects:
        raise FormatError("no_text", "neither caption nor aspects")
    return {
        "audio_path": sounds.find(piece_id.split("/", 1)[1]),
        "tags": aspects,
        "description": caption,
        "text": caption or ", ".join(aspects),
        "subsets": subsets,
    }


def _flag(row: dict, column: str) -> bool:
    if row[column].strip().lower() not in ("true", "false"):
        raise ValueError(f"{column} is {row[column]!r}, expected True or False")
    return row[column].strip().lower() == "true"


def _seconds(row: dict, column: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d*)?", row[column].strip()):
        raise ValueError(f"{column} is {row[column]!r}, expected seconds from the start")
    return float(row[column])


def _aspects(cell: str) -> list[str]:
    """`['slow', "it's sad"]`, as Python writes a list."""
    try:
        aspects = ast.literal_eval(cell.strip() or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        aspects = None
    if not isinstance(aspects, list):
        raise ValueError(f"aspect_list is {cell!r:.60}, expected a list such as ['slow', 'sad']")
    return clean_words(aspects)
