"""suno.jsonl of nyuuzyou/suno to captioned recordings: generated songs with their style tags."""

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

from clamp3.data.music_folders import NamedFiles
from clamp3.data.sources import Parsed, check_name, clean_text, json_rows, parse_rows
from clamp3.errors import ConfigError, FormatError
from clamp3.formats.modality import FileFormat

FIELDS = ("tags", "prompt", "gpt_description_prompt")  # of `metadata`


def parse_suno(
    path: Path,
    folder: Path | str,
    *,
    fields: Sequence[str] = ("tags",),
    collection: str = "suno",
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
    rows = json_rows(path, ("id", "metadata"), "the suno data set (suno.jsonl)")
    recordings = NamedFiles(folder, [FileFormat.AUDIO], lambda name: Path(name).stem)

    def name_of(line: dict) -> str:
        return f"{collection}/{check_name(line.get('id'))}"

    return parse_rows(rows, collection, name_of, partial(_read_piece, recordings, fields))


def _read_piece(
    recordings: NamedFiles, fields: Collection[str], piece_id: str, line: dict
) -> dict | None:
    metadata = line.get("metadata")
    if not isinstance(metadata, dict):
        raise ValueError(f"metadata is {type(metadata).__name__}, expected an object")
    files = recordings.all(line["id"])
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
