"""Summaries from a table of music terms: offline, the same for ever, in a handful of languages.

Only what the metadata say in words of the table is said again: kind, key, metre, length,
instruments, style and use, around title and composer as they are. It is a stand-in for a language
model, so that all that follows can run; the table's `writer` says which of them wrote a text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

import yaml

from clamp3.data.summaries.languages import Language, other_languages
from clamp3.data.summaries.reply import Summaries
from clamp3.errors import FormatError
from clamp3.randomness import stable_hash

VERSION = 1
_LEAST_FACTS = 2
_MOST_GENRES = 3
_MODES = "major|minor|dorian|phrygian|lydian|mixolydian|aeolian|locrian"
_KEY = re.compile(rf"\b([A-G])(?:[- ]?(sharp|flat|#|♯|b|♭))? ({_MODES})\b")
_KEY_TAG = re.compile(rf"([a-g])[- ]?(sharp|flat)?[- ]?({_MODES})")
_METRE = re.compile(r"\b(\d{1,2}/(?:1|2|4|8|16|32))\b")
_BARS = re.compile(r"\b(\d+) (?:bars|measures)\b")
_ACCIDENTALS = {"#": "sharp", "♯": "sharp", "b": "flat", "♭": "flat"}
_PROSE = ("analysis", "description", "background", "scene")


class _Facts(NamedTuple):
    title: str | None
    composer: str | None
    kind: str | None
    key: tuple[str, str, str] | None  # pitch, "sharp", "flat" or "", mode
    metre: str | None
    bars: str | None
    instruments: tuple[str, ...]
    genres: tuple[str, ...]
    scene: str | None


def template_languages() -> tuple[Language, ...]:
    """The languages besides English that `write_summaries` knows."""
    codes = _terms()["languages"][1:]
    return tuple(language for language in other_languages() if language.code in codes)


def write_summaries(piece_id: str, line: Mapping, language: Language) -> Summaries:
    """The two texts of a piece; its id chooses among wordings, the same in both languages.

    `line` is one of CLaMP 2's layout. Raises FormatError (`too_little`) where it says less than
    two things about the music itself.
    """
    facts = _read(line)
    known = (facts.kind, facts.key, facts.metre, facts.instruments, facts.genres)
    if sum(map(bool, known)) < _LEAST_FACTS:
        raise FormatError("too_little", "the metadata say too little about the music")
    english, other = (" ".join(_sentences(piece_id, facts, each)) for each in ("en", language.code))
    return Summaries(english, language, other)


@cache
def _terms() -> dict:
    text = resources.files(__package__).joinpath("terms.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def _read(line: Mapping) -> _Facts:
    tags = [word.lower() for word in _texts(line, "tags", "genres")]
    prose = " ".join(_texts(line, *_PROSE))
    genres = _known("genres", tags) or _known("genres", [prose.lower()])
    kinds = _known("kinds", tags) or _known("kinds", [prose.lower()])
    kind = min(kinds, key=list(_terms()["kinds"]).index, default=None)
    played = [word.lower() for word in _texts(line, "instruments")]
    metre, bars = _METRE.search(prose), _BARS.search(prose)
    return _Facts(
        title=_first(line, "title"),
        composer=_first(line, "composer"),
        kind=kind,
        key=_key(tags, prose),
        metre=metre and metre[1],
        bars=bars and bars[1],
        instruments=_known("instruments", played or [prose.lower()]),
        genres=genres[:_MOST_GENRES],
        scene=_scene([*([kind] if kind else []), *genres]),
    )


def _texts(line: Mapping, *fields: str) -> list[str]:
    values = (line.get(field) for field in fields)
    lists = (value if isinstance(value, list) else [value] for value in values)
    return [word for words in lists for word in words if isinstance(word, str)]


def _first(line: Mapping, field: str) -> str | None:
    words = " ".join(" ".join(_texts(line, field)).split())
    return words or None


def _known(kind: str, texts: Iterable[str]) -> tuple[str, ...]:
    """The terms in the texts, in their order; of terms within each other the longest."""
    pattern, terms = _pattern(kind)
    found = (terms[match[0]] for text in texts for match in pattern.finditer(text))
    return tuple(dict.fromkeys(found))


@cache
def _pattern(kind: str) -> tuple[re.Pattern, dict[str, str]]:
    terms = {
        spelling: term
        for term, entry in _terms()[kind].items()
        for spelling in (term, entry["in"][0].lower(), *entry.get("also", ()))
    }
    longest_first = sorted(terms, key=lambda spelling: (-len(spelling), spelling))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)"), terms


def _key(tags: Iterable[str], prose: str) -> tuple[str, str, str] | None:
    found = _KEY.search(prose) or next(filter(None, map(_KEY_TAG.fullmatch, tags)), None)
    if not found:
        return None
    accidental = found[2] or ""
    return found[1].upper(), _ACCIDENTALS.get(accidental, accidental), found[3]


def _scene(words: Iterable[str]) -> str | None:
    scenes = _terms()["scene_of"]
    return next((scene for word in words for scene in scenes if word in scenes[scene]), None)


def _sentences(piece_id: str, facts: _Facts, code: str) -> Iterator[str]:
    wordings, rest = _terms()["sentences"][code], stable_hash(piece_id, "wording")
    for field, values in _values(facts, code).items():
        rest, choice = divmod(rest, len(wordings[field]))
        sentence = wordings[field][choice].format(**values)
        yield sentence[0].upper() + sentence[1:]


def _values(facts: _Facts, code: str) -> dict[str, dict[str, str]]:
    """What each sentence there is to say is filled with, in their order."""
    named = {"title": facts.title, "composer": facts.composer}
    named = {field: value for field, value in named.items() if value}
    told = {
        "kind": facts.kind and _in(code, "kinds", facts.kind),
        "key": facts.key and _named_key(code, *facts.key),
        "metre": facts.metre,
        "bars": facts.bars,
        "instruments": _list(code, "instruments", facts.instruments),
        "genres": _list(code, "genres", facts.genres),
        "scene": facts.scene and _terms()["scenes"][facts.scene][_place(code)],
    }
    heading = {"both" if len(named) == 2 else next(iter(named)): named} if named else {}
    return heading | {field: {field: value} for field, value in told.items() if value}


def _place(code: str) -> int:
    return _terms()["languages"].index(code)


def _in(code: str, kind: str, term: str) -> str:
    return _terms()[kind][term]["in"][_place(code)]


def _list(code: str, kind: str, terms: Iterable[str]) -> str:
    words = list(dict.fromkeys(_in(code, kind, term) for term in terms))
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + _terms()["sentences"][code]["and"] + words[-1]


def _named_key(code: str, pitch: str, accidental: str, mode: str) -> str:
    terms = _terms()
    name = terms["pitches"][code]["CDEFGAB".index(pitch)]
    if accidental:
        whole = terms["irregular"].get(code, {}).get(f"{pitch} {accidental}")
        name = whole or name + terms["accidentals"][code][accidental]
    return terms["modes"][mode][_place(code)].format(name, low=name.lower())
