"""wikimusictext.jsonl to catalogue columns: lead sheets of Wikifonia with genre and description.

The published file names the pieces and describes them; their scores were taken out. They are the
MusicXML files of Wikifonia called `<artist> - <title>.mxl`.
"""

import re
from functools import partial
from pathlib import Path

from clamp3.data.music_folders import NamedFiles
from clamp3.data.raw_files.addresses import below
from clamp3.data.sources import (
    Parsed,
    check_name,
    clean_text,
    clean_words,
    parse_lines,
    require_file,
)
from clamp3.data.texts import PieceFacts, one_line_text, write_texts
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

COLLECTION = "wikimt"
_UNFIT = re.compile(r'[/\\:*?"<>|]')  # what archives replace in file names


def parse_wikimt(
    path: Path,
    folder: str | None = None,
    *,
    collection: str = COLLECTION,
    check_files: bool = False,
) -> Parsed:
    """The catalogue columns of the usable pieces, in the order of the file, and the rejects.

    The id is the collection and `<artist> - <title>`. The score is the MusicXML file of that name
    below `folder` (None: that of the JSONL), letters in any case; older copies that hold ABC in
    `music` need none. Without `check_files` it is taken to lie in `folder` and not looked for.
    Background and text are written from title and artist, `description` and `genre` are those of
    the file.

    Kinds of rejects: `bad_row`, `bad_value`, `duplicate_id`, `no_text`, and with `check_files`
    `missing_files`, `ambiguous_files`; reasons name the line. Raises DataError where the file as
    a whole is something else.
    """
    path, folder = Path(path), folder or str(Path(path).parent)
    require_file(path, "WikiMT (wikimusictext.jsonl)")
    formats = [FileFormat.MUSICXML] if check_files else []
    scores = NamedFiles(folder, formats, lambda name: _key(Path(name).stem))
    name_of = partial(_name_of, collection)
    read_piece = partial(_read_piece, folder, scores if check_files else None)
    keys = ("title", "artist", "genre", "description")
    return parse_lines(path, collection, keys, name_of, read_piece)


def _key(name: str) -> str:
    return " ".join(_UNFIT.sub("_", name).casefold().split())


def _name_of(collection: str, line: dict) -> str:
    artist, title = clean_text(line.get("artist")), clean_text(line.get("title"))
    if not title:
        raise ValueError("no title")
    name = f"{artist} - {title}" if artist else title
    return f"{collection}/{check_name(_UNFIT.sub('_', name))}"


def _read_piece(folder: str, scores: NamedFiles | None, piece_id: str, line: dict) -> dict:
    music = line.get("music")
    if music is not None and not isinstance(music, str):
        raise ValueError(f"music is {type(music).__name__}, expected ABC text")
    name = piece_id.split("/", 1)[1]
    facts = PieceFacts(
        title=clean_text(line.get("title")),
        artists=clean_text(line.get("artist")),
        genres=clean_words(line.get("genre")),
    )
    description = line.get("description")
    clean_text(description)  # refuses what is no text
    leadsheet = (music or "").strip() or None
    score = None
    if not leadsheet:
        score = scores.find(_key(name)) if scores else below(folder, f"{name}.mxl")
    if not (description or "").strip() and not facts.genres:
        raise FormatError("no_text", "neither genre nor description")
    return {
        "mxl_path": score,
        "leadsheet": music if leadsheet else None,
        "title": facts.title,
        "artists": facts.artists,
        "genres": list(facts.genres),
        "background": write_texts(piece_id, facts).background,
        "description": (description or "").strip() or None,
        "text": one_line_text(facts),
    }
