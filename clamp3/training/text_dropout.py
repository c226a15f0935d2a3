"""Which of a piece's texts stands for it in one step of training."""

from collections.abc import Mapping

import numpy as np

NOT_TEXT = ("id", "filepaths", "language", "translations")


def dropped_text(piece: Mapping, rng: np.random.Generator) -> str:
    """Some lines of a manifest line's texts in random order, joined by line breaks; "" without any.

    With chance 1/2 the lines come from the translations (if there are any), else from all text
    fields, a list such as `tags` giving one line per entry. Each line stays with chance 1/2; if
    none does, all stay.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_symbolic.py (text_dropout).
    Differs: repeats are removed in order of appearance, because the order of a set changes from
    process to process; randomness comes from `rng`.
    """
    candidates = _translations(piece) if rng.random() < 0.5 else []
    lines = _lines(candidates or _originals(piece))
    kept = [line for line in lines if rng.random() < 0.5] or lines
    return "\n".join(kept[place] for place in rng.permutation(len(kept)))


def fixed_text(piece: Mapping, field: str = "analysis") -> str:
    """The text of one field; all lines in order where the piece lacks it; "" without any text.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_symbolic.py.
    Differs: a piece without `field` has its other texts, because the original fails there.
    """
    text = piece.get(field)
    return text if isinstance(text, str) and text.strip() else "\n".join(_lines(_originals(piece)))


def all_texts(piece: Mapping) -> list[str]:
    """Every line of the piece's texts and their translations, for training a tokenizer."""
    return _lines([*_originals(piece), *_translations(piece)])


def _originals(piece: Mapping) -> list[str]:
    fields = [value for key, value in piece.items() if key not in NOT_TEXT]
    return [text for value in fields for text in _texts(value)]


def _translations(piece: Mapping) -> list[str]:
    translations = piece.get("translations") or {}
    return [t for key, v in translations.items() if key != "language" for t in _texts(v)]


def _texts(value: object) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, str) and entry]


def _lines(texts: list[str]) -> list[str]:
    return [line for text in dict.fromkeys(texts) for line in text.split("\n") if line.strip()]
