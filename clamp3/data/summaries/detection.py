"""Whether a text is in the language it should be in, offline.

The writing system is read off the characters. py3langid (a naive Bayes model of byte n-grams, in
its package) tells languages of one script apart; where it does not know a language, a text must
at least not be English, the likeliest mistake.
"""

import re
import unicodedata
from collections import Counter
from functools import cache

from clamp3.data.summaries.languages import Language

_MIN_LETTERS = 12  # fewer say nothing
_MIN_SCRIPT_SHARE = 0.5  # foreign titles and names may stand in another one
_MIN_CHANCE = 0.1  # of the right language; near relatives share the rest
_MAX_ENGLISH = 0.5
_QUOTED = re.compile(
    r"“[^”]*”|„[^“”]*[“”]|«[^»]*»|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|\"[^\"\n]*\""
)
# The first words of the names of characters, by script.
_SCRIPTS = {
    "LATIN": "Latn",
    "CYRILLIC": "Cyrl",
    "GREEK": "Grek",
    "ARABIC": "Arab",
    "HEBREW": "Hebr",
    "DEVANAGARI": "Deva",
    "BENGALI": "Beng",
    "GURMUKHI": "Guru",
    "GUJARATI": "Gujr",
    "ORIYA": "Orya",
    "TAMIL": "Taml",
    "TELUGU": "Telu",
    "KANNADA": "Knda",
    "MALAYALAM": "Mlym",
    "SINHALA": "Sinh",
    "THAI": "Thai",
    "LAO": "Laoo",
    "MYANMAR": "Mymr",
    "KHMER": "Khmr",
    "ETHIOPIC": "Ethi",
    "GEORGIAN": "Geor",
    "ARMENIAN": "Armn",
    "HANGUL": "Hang",
    "HIRAGANA": "Hira",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "CJK": "Hani",
    "MONGOLIAN": "Mong",
    "JAVANESE": "Java",
    "SUNDANESE": "Sund",
}


def language_fault(text: str, language: Language) -> str | None:
    """None if the text may be in `language`, else a sentence on what it looks like.

    Quoted titles do not count. A text of a few letters may be in any language.
    """
    unquoted = _QUOTED.sub(" ", text)
    scripts = _count_scripts(unquoted)
    letters = scripts.total()
    if letters < _MIN_LETTERS:
        return None
    share = sum(scripts[script] for script in language.scripts) / letters
    if share < _MIN_SCRIPT_SHARE:
        found = scripts.most_common(1)[0][0]
        return f"written in {found}, {language.name} is written in {' or '.join(language.scripts)}"
    return _fault_in_script(unquoted, language, scripts)


def _fault_in_script(text: str, language: Language, scripts: Counter) -> str | None:
    if language.code == "ja" and not scripts["Hira"] + scripts["Kana"]:
        return "without a kana, so not Japanese"
    fault = _chinese_fault(text, language)
    if fault or (language.label is None and "Latn" not in language.scripts):
        return fault
    chances = dict(_identifier().rank(text))
    if language.label is None:
        return "looks like English" if chances["en"] > _MAX_ENGLISH else None
    # A label can be alike in the list and unknown to another version of the identifier.
    chance = sum(chances.get(label, 0.0) for label in (language.label, *language.like))
    best = max(chances, key=chances.__getitem__)
    if chance >= _MIN_CHANCE or best == language.label:
        return None
    return f"looks like {best!r}, expected {language.name} ({language.code})"


def _chinese_fault(text: str, language: Language) -> str | None:
    """Simplified and traditional characters are told apart by which of two code pages has them."""
    if language.scripts != ("Hani",):
        return None
    characters = [c for c in text if unicodedata.name(c, "").startswith("CJK")]
    simplified = sum(_fits(c, "gb2312") and not _fits(c, "big5") for c in characters)
    traditional = sum(_fits(c, "big5") and not _fits(c, "gb2312") for c in characters)
    if language.code == "zh-Hans" and traditional > simplified:
        return "in traditional characters, asked was Chinese (Simplified)"
    if language.code == "zh-Hant" and simplified > traditional:
        return "in simplified characters, asked was Chinese (Traditional)"
    return None


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _count_scripts(text: str) -> Counter:
    return Counter(_script(c) for c in text if c.isalpha())


@cache
def _script(character: str) -> str:
    first = unicodedata.name(character, "").split(" ")[0]
    return _SCRIPTS.get(first, first.title() or "Unknown")


@cache
def _identifier():
    # Loading takes a second, and only replies of a language model need it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
