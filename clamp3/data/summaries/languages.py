"""The languages of the summaries, and which of them a piece gets."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

import yaml

from clamp3.errors import ConfigError
from clamp3.randomness import stable_fraction


class Language(NamedTuple):
    """One language of languages.yaml, which says what the fields are."""

    name: str
    code: str
    scripts: tuple[str, ...]
    label: str | None  # of the identifier
    like: tuple[str, ...] = ()  # other labels of such texts


@cache
def all_languages() -> tuple[Language, ...]:
    """The 101 languages of CLaMP 2, English first."""
    text = resources.files(__package__).joinpath("languages.yaml").read_text(encoding="utf-8")
    return tuple(_language(entry) for entry in yaml.safe_load(text))


def _language(entry: Mapping) -> Language:
    label = entry.get("label", entry["code"].split("-")[0])
    like = tuple(entry.get("like", ()))
    return Language(entry["name"], entry["code"], tuple(entry["scripts"]), label, like)


def other_languages() -> tuple[Language, ...]:
    """The 100 languages of which every piece gets one, in the order of the original."""
    return all_languages()[1:]


def find_language(name: str) -> Language:
    """The language other than English of this name or code, in any case.

    Raises ConfigError if there is none.
    """
    wanted = name.strip().casefold()
    for language in other_languages():
        if wanted in (language.name.casefold(), language.code.casefold()):
            return language
    known = ", ".join(f"{language.name} ({language.code})" for language in other_languages())
    raise ConfigError(f"{name!r} is no language of the summaries; known are {known}")


def weigh_languages(
    weights: Mapping[str, float], offered: Sequence[Language] | None = None
) -> dict[Language, float]:
    """The weight of each language to choose from, in the order of the list.

    `weights` are by name or code; without any, all those `offered` (None: all) weigh alike. Raises
    ConfigError for a language that is unknown or not offered, and for a weight that is not above 0.
    """
    offered = other_languages() if offered is None else offered
    if not weights:
        return dict.fromkeys(offered, 1.0)
    wanted = {find_language(name): weight for name, weight in weights.items()}
    for language, weight in wanted.items():
        if language not in offered:
            names = ", ".join(each.name for each in offered)
            raise ConfigError(f"this writer does not know {language.name}; it writes {names}")
        if not weight > 0:
            raise ConfigError(f"the weight of {language.name} is {weight}; expected more than 0")
    return {language: wanted[language] for language in offered if language in wanted}


def choose_language(piece_id: str, seed: int, weights: Mapping[Language, float]) -> Language:
    """The language of a piece: by a hash of its id and the seed, as likely as its weight says."""
    rest = stable_fraction(seed, "summary language", piece_id) * sum(weights.values())
    for language, weight in weights.items():
        rest -= weight
        if rest < 0:
            return language
    return language


ENGLISH = all_languages()[0]
