"""wikimt-x-public.jsonl to catalogue columns: 1,000 lead sheets with four texts each."""

from functools import partial
from pathlib import Path

from clamp3.data.sources import (
    Parsed,
    check_name,
    clean_text,
    clean_words,
    parse_lines,
    require_file,
)
from clamp3.data.texts import PieceFacts, PieceTexts, one_line_text
from clamp3.errors import FormatError

COLLECTION = "wikimt_x"


def parse_wikimt_x(path: Path, *, collection: str = COLLECTION) -> Parsed:
    """The catalogue columns of the usable lead sheets, in the order of the file, and the rejects.

    The id is the collection and the YouTube id. `leadsheet` is plain ABC, one voice after the
    other, as it stands in the file. `genre` becomes the only genre. Line breaks in the texts stay:
    the models read a text line by line.

    Kinds of rejects: `bad_row` (no JSON object), `bad_value`, `duplicate_id` (the first one
    stays), `no_music`, `no_text`; reasons name the line. Raises DataError where the file as a
    whole is something else.
    """
    path = Path(path)
    require_file(path, "WikiMT-X (wikimt-x-public.jsonl)")
    name_of = partial(_name_of, collection)
    return parse_lines(path, collection, ("id", "leadsheet"), name_of, _read_piece)


def _name_of(collection: str, line: dict) -> str:
    return f"{collection}/{check_name(line.get('id'))}"


def _read_piece(piece_id: str, line: dict) -> dict:
    leadsheet = line.get("leadsheet")
    if leadsheet is not None and not isinstance(leadsheet, str):
        raise ValueError(f"leadsheet is {type(leadsheet).__name__}, expected ABC text")
    if not (leadsheet or "").strip():
        raise FormatError("no_music", "the leadsheet is empty")
    texts = {name: _read_text(line, name) for name in PieceTexts._fields}
    facts = PieceFacts(
        title=clean_text(line.get("title")),
        artists=", ".join(clean_words(line.get("artists"))) or None,
        genres=clean_words(line.get("genre")),
    )
    if not any(texts.values()) and not facts.title:
        raise FormatError("no_text", "no title and none of " + ", ".join(PieceTexts._fields))
    return {
        "leadsheet": leadsheet,
        "title": facts.title,
        "artists": facts.artists,
        "genres": list(facts.genres),
        **texts,
        "text": one_line_text(facts),
    }


def _read_text(line: dict, name: str) -> str | None:
    text = line.get(name)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{name} is {type(text).__name__}, expected text")
    return (text or "").strip() or None
