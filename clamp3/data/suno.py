"""suno.jsonl of nyuuzyou/suno to captioned recordings: generated songs with their style tags."""

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from clamp3.data.sources import Parsed, check_name, clean_text, parse_lines, require_file
from clamp3.errors import ConfigError, DataError, FormatError

COLLECTION = "suno"
FIELDS = ("tags", "prompt", "gpt_description_prompt")  # of `metadata`
SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a")


def parse_suno(
    path: Path,
    folder: Path | str,
    *,
    fields: Sequence[str] = ("tags",),
    collection: str = COLLECTION,
) -> Parsed:
    """The columns id, audio_path, title, caption of the usable songs, in the order of the file.

    The id is the collection and the song's. Its recording is the file called `<id>.mp3` (or
    another sound file) anywhere below `folder`; songs without one are left out, for few of the
    660,000 are ever downloaded. `fields` of `metadata` make the caption: `tags`, the style and
    genre, which the published model was trained on; `prompt`, the words; `gpt_description_prompt`.

    Kinds of rejects: `bad_row` (no JSON object), `bad_value`, `duplicate_id` (the first one stays),
    `no_text` (all fields are empty), `ambiguous_recording`; reasons name the line. Raises DataError
    where the file as a whole is something else or there is no such folder, ConfigError for other
    fields.

    Source: yuhuacheng/clap_musicgen@af54eac README.md
    """
    if not fields or not set(fields) <= set(FIELDS):
        raise ConfigError(f"fields {', '.join(fields)}: expected some of {', '.join(FIELDS)}")
    path = Path(path)
    require_file(path, "the suno data set (suno.jsonl)")
    recordings = _recordings(Path(folder))
    name_of = partial(_name_of, collection)
    read_piece = partial(_read_piece, recordings=recordings, fields=fields)
    return parse_lines(path, collection, ("id", "metadata"), name_of, read_piece)


def _recordings(folder: Path) -> dict[str, list[str]]:
    """The sound files below a folder by their names without suffix."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected the songs' sound files")
    found: dict[str, list[str]] = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES and not name.startswith("."):
                found.setdefault(stem, []).append((Path(place) / name).as_posix())
    return found


def _name_of(collection: str, line: dict) -> str:
    return f"{collection}/{check_name(line.get('id'))}"


def _read_piece(
    piece_id: str, line: dict, *, recordings: Mapping[str, list[str]], fields: Collection[str]
) -> dict | None:
    metadata = line.get("metadata")
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata is {type(metadata).__name__}, expected an object")
    files = recordings.get(line["id"], [])
    if not files:
        return None
    if len(files) > 1:
        names = ", ".join(files)
        raise FormatError("ambiguous_recording", f"several files are called like it: {names}")
    texts = [clean_text(metadata.get(field)) for field in fields]
    caption = ". ".join(text for text in texts if text)
    if not caption:
        raise FormatError("no_text", f"no text in metadata under {', '.join(fields)}")
    return {"audio_path": files[0], "title": clean_text(line.get("title")), "caption": caption}
