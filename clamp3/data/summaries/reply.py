"""The reply of a language model: its schema, and what makes a reply usable."""

import hashlib
import json
import unicodedata
from functools import cache
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from clamp3.data.summaries.detection import language_fault
from clamp3.data.summaries.languages import ENGLISH, Language
from clamp3.data.summaries.prompt import task_sentences
from clamp3.errors import FormatError

MAX_CHARACTERS = 4000  # of one summary; more is no summary
_JOINERS = "\u200c\u200d"  # Persian, Bengali and others are misspelt without


class Written(BaseModel):
    """What a reply holds; the texts are empty without enough information."""

    model_config = ConfigDict(extra="forbid", strict=True)

    enough_information: bool
    summary_en: str
    language: str
    summary: str


class Summaries(NamedTuple):
    """The two texts of a piece."""

    english: str
    language: Language
    other: str


def response_format(structure: str) -> dict | None:
    """What a request asks to be replied in: a JSON `schema`, any JSON `object`, or nothing."""
    if structure == "schema":
        schema = {"name": "summaries", "strict": True, "schema": Written.model_json_schema()}
        return {"type": "json_schema", "json_schema": schema}
    return {"type": "json_object"} if structure == "object" else None


@cache
def schema_key() -> str:
    """A short hash of the schema, for the keys of cached replies."""
    text = json.dumps(Written.model_json_schema(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_reply(text: str | None, refusal: str | None, language: Language) -> Summaries:
    """The two texts of a reply to a question in `language`.

    Raises FormatError: `too_little` and `refused` for a refusal (asking again is in vain);
    `bad_reply`, `wrong_language` and `leak` for a reply that cannot be used.
    """
    if refusal:
        raise FormatError("refused", f"the model refused: {refusal:.200}")
    written = _parse(text or "")
    if not written.enough_information:
        raise FormatError("too_little", "the metadata say too little about the music")
    english, other = _text(written.summary_en), _text(written.summary)
    if not english or not other:
        raise FormatError("bad_reply", "a text is empty")
    if max(len(english), len(other)) > MAX_CHARACTERS:
        raise FormatError("bad_reply", f"a text has more than {MAX_CHARACTERS} characters")
    if any(sentence in each for sentence in task_sentences() for each in (english, other)):
        raise FormatError("leak", "the reply repeats the task")
    _check_languages(written.language, english, other, language)
    return Summaries(english, language, other)


def _parse(text: str) -> Written:
    """Servers without structured replies may think aloud, and put a fence or words around them."""
    text = text.rsplit("</think>", 1)[-1]
    text = text[max(text.find("{"), 0) : text.rfind("}") + 1]
    try:
        return Written.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "reply"
        raise FormatError("bad_reply", f"{place}: {fault['msg']:.200}") from error


def _text(text: str) -> str:
    """Without control characters, and without invisible ones but those that scripts need."""
    return "".join(map(_shown, text)).strip()


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return character if character in _JOINERS else ""
    return " " if category in ("Cc", "Cs") and character != "\n" else character


def _check_languages(named: str, english: str, other: str, language: Language) -> None:
    if named.strip().casefold() not in (language.name.casefold(), language.code.casefold()):
        raise FormatError("wrong_language", f"in {named!r:.60}, asked was {language.name}")
    fault = language_fault(english, ENGLISH) or language_fault(other, language)
    if fault:
        raise FormatError("wrong_language", fault)
