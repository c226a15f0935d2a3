"""WikiMT and WikiMT-X to catalogue columns: lead sheets with texts, a JSON object a line.

wikimusictext.jsonl names pieces of Wikifonia and describes them; their scores were taken out. They
are the MusicXML files of Wikifonia called `<artist> - <title>.mxl`. wikimt-x-public.jsonl holds
1,000 lead sheets with four texts each.
"""

import re
from functools import partial
from pathlib import Path
from unicodedata import normalize

from clamp3.data.music_folders import NamedFiles
from clamp3.data.raw_files.addresses import below
from clamp3.data.sources import (
    Parsed,
    check_name,
    clean_text,
    clean_words,
    json_rows,
    parse_rows,
)
from clamp3.data.texts import PieceFacts, PieceTexts, one_line_text, write_texts
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

_UNFIT = re.compile(r'[/\\:*?"<>|]')  # what archives replace in file names


def parse_wikimt(
    path: Path,
    folder: str | None = None,
    *,
    collection: str = "wikimt",
    check_files: bool = False,
) -> Parsed:
    """The catalogue columns of the usable pieces of WikiMT, in its order, and the rejects.

    The id is the collection and `<artist> - <title>`. The score is the MusicXML file of that name
    below `folder` (None: that of the JSONL), letters in any case; older copies that hold ABC in
    `music` need none. Without `check_files` it is taken to lie in `folder` and not looked for.
    Background and text are written from title and artist, `description` and `genre` are those of
    the file.

    Kinds of rejects: `bad_row`, `bad_value`, `duplicate_id`, `no_text`, and with `check_files`
    `missing_files`, `ambiguous_files`; reasons name the line. Raises DataError where the file as
    a whole is something else.
    """
    keys = ("title", "artist", "genre", "description")
    rows = json_rows(path, keys, "WikiMT (wikimusictext.jsonl)")
    folder = folder or str(Path(path).parent)
    scores = None
    if check_files:
        scores = NamedFiles(folder, [FileFormat.MUSICXML], lambda name: _key(Path(name).stem))
    read_piece = partial(_read_wikimt, folder, scores)
    return parse_rows(rows, collection, partial(_name_of, collection), read_piece)


def _key(name: str) -> str:
    """Equal for one name in capitals or not, with accents as one character or two."""
    return " ".join(normalize("NFC", _UNFIT.sub("_", name).casefold()).split())


def _name_of(collection: str, line: dict) -> str:
    artist, title = clean_text(line.get("artist")), clean_text(line.get("title"))
    if not title:
        raise ValueError("no title")
    name = f"{artist} - {title}" if artist else title
    return f"{collection}/{check_name(_UNFIT.sub('_', name))}"


def _read_wikimt(folder: str, scores: NamedFiles | None, piece_id: str, line: dict) -> dict:
    music, description = _text(line, "music"), _text(line, "description")
    facts = PieceFacts(
        title=clean_text(line.get("title")),
        artists=clean_text(line.get("artist")),
        genres=clean_words(line.get("genre")),
    )
    score = None
    if not music:
        name = piece_id.split("/", 1)[1]
        score = scores.find(_key(name)) if scores else below(folder, f"{name}.mxl")
    if not description and not facts.genres:
        raise FormatError("no_text", "neither genre nor description")
    return {
        "mxl_path": score,
        "leadsheet": line["music"] if music else None,
        "title": facts.title,
        "artists": facts.artists,
        "genres": list(facts.genres),
        "background": write_texts(piece_id, facts).background,
        "description": description,
        "text": one_line_text(facts),
    }


def parse_wikimt_x(path: Path, *, collection: str = "wikimt_x") -> Parsed:
    """The catalogue columns of the usable lead sheets of WikiMT-X, in its order, and the rejects.

    The id is the collection and the YouTube id. `leadsheet` is plain ABC, one voice after the
    other, as it stands in the file. `genre` becomes the only genre. Line breaks in the texts stay:
    the models read a text line by line.

    Kinds of rejects: `bad_row` (no JSON object), `bad_value`, `duplicate_id` (the first one
    stays), `no_music`, `no_text`; reasons name the line. Raises DataError where the file as a
    whole is something else.
    """
    rows = json_rows(path, ("id", "leadsheet"), "WikiMT-X (wikimt-x-public.jsonl)")

    def name_of(line: dict) -> str:
        return f"{collection}/{check_name(line.get('id'))}"

    return parse_rows(rows, collection, name_of, _read_wikimt_x)


def _read_wikimt_x(piece_id: str, line: dict) -> dict:
    if not _text(line, "leadsheet"):
        raise FormatError("no_music", "the leadsheet is empty")
    texts = {name: _text(line, name) for name in PieceTexts._fields}
    facts = PieceFacts(
        title=clean_text(line.get("title")),
        artists=", ".join(clean_words(line.get("artists"))) or None,
        genres=clean_words(line.get("genre")),
    )
    if not any(texts.values()) and not facts.title:
        raise FormatError("no_text", "no title and none of " + ", ".join(PieceTexts._fields))
    return {
        "leadsheet": line["leadsheet"],
        "title": facts.title,
        "artists": facts.artists,
        "genres": list(facts.genres),
        **texts,
        "text": one_line_text(facts),
    }


def _text(line: dict, name: str) -> str | None:
    """The text as it stands but for blanks around it; None for nothing. Raises ValueError."""
    text = line.get(name)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{name} is {type(text).__name__}, expected text")
    return (text or "").strip() or None
