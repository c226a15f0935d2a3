"""Which of a piece's texts stands for it in one step of training."""

from collections.abc import Mapping

import numpy as np

NOT_TEXT = ("id", "filepaths", "language", "translations")
# Of CLaMP 2: lists of texts, and of {"language": …, "summary": …}.
SUMMARIES = ("summary_en", "summary_nen")


def dropped_text(piece: Mapping, rng: np.random.Generator, rule: str = "clamp3") -> str:
    """What a manifest line says at one look, by the rule `clamp3` or `clamp2`; "" without text.

    Both pick some of the lines of its texts, in random order and joined by line breaks; a list
    such as `tags` gives one line per entry. Each line stays with chance 1/2; if none does, all
    stay. `clamp3`: with chance 1/2 the lines are those of the translations (if there are any),
    else of all text fields. `clamp2`: see `_dropped_or_summary`.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_symbolic.py (text_dropout).
    Differs: repeats are removed in order of appearance, because the order of a set changes from
    process to process; randomness comes from `rng`.
    """
    if rule == "clamp2":
        return _dropped_or_summary(piece, rng)
    candidates = _translations(piece) if rng.random() < 0.5 else []
    return _some(_lines(candidates or _originals(piece)), rng)


def fixed_text(piece: Mapping, field: str = "analysis") -> str:
    """The text of one field, else the first English summary, else all lines, else a summary in
    another language; "" without any text.

    Source: sanderwood/clamp3@9016d2b code/train_clamp3_symbolic.py, and train_clamp2.py of
    sanderwood/clamp2@a3ebc75, which evaluates on the first English summary.
    Differs: a piece without `field` has its other texts, because the originals fail there.
    """
    first = _texts(piece.get("summary_en"))[:1]
    text = piece.get(field)
    if not isinstance(text, str) or not text.strip():
        text = "".join(first)
    lines = _lines(_originals(piece)) or _foreign_summaries(piece)[:1]
    return text if text.strip() else "\n".join(lines)


def has_text(piece: Mapping, rule: str = "clamp3") -> bool:
    """Whether a piece says anything by this rule: `clamp3` alone takes no foreign summaries."""
    foreign = [] if rule == "clamp3" else _foreign_summaries(piece)
    return bool(_lines([*_originals(piece), *foreign]))


def all_texts(piece: Mapping) -> list[str]:
    """Every line of the piece's texts, translations and summaries, for training a tokenizer."""
    return _lines([*_originals(piece), *_translations(piece), *_foreign_summaries(piece)])


def _dropped_or_summary(piece: Mapping, rng: np.random.Generator) -> str:
    """With chance 1/2 some lines of the metadata, else one whole summary.

    Metadata are all texts but the summaries. The summary is with chance 1/2 one of the English,
    else one of the others, each as likely as the next; its line breaks are spaces, as XLM-R's
    tokenizer reads them.

    Source: sanderwood/clamp2@a3ebc75 code/train_clamp2.py (text_dropout).
    Differs: a piece without summaries of the kind has one of the other kind, without any its
    metadata, and without metadata a summary, because the original fails there; identifiers and
    names of languages are no text, empty lines are left out.
    """
    metadata = _lines(_metadata(piece))
    english, foreign = _texts(piece.get(SUMMARIES[0])), _foreign_summaries(piece)
    wants_metadata, wants_english = rng.random() < 0.5, rng.random() < 0.5
    summaries = (english or foreign) if wants_english else (foreign or english)
    if metadata and (wants_metadata or not summaries):
        return _some(metadata, rng)
    return " ".join(summaries[rng.integers(len(summaries))].split("\n")) if summaries else ""


def _some(lines: list[str], rng: np.random.Generator) -> str:
    """About half of the lines, or all, in random order."""
    kept = [line for line in lines if rng.random() < 0.5] or lines
    return "\n".join(kept[place] for place in rng.permutation(len(kept)))


def _originals(piece: Mapping) -> list[str]:
    return [*_metadata(piece), *_texts(piece.get("summary_en"))]


def _metadata(piece: Mapping) -> list[str]:
    fields = [value for key, value in piece.items() if key not in (*NOT_TEXT, *SUMMARIES)]
    return [text for value in fields for text in _texts(value)]


def _translations(piece: Mapping) -> list[str]:
    translations = piece.get("translations") or {}
    return [t for key, v in translations.items() if key != "language" for t in _texts(v)]


def _foreign_summaries(piece: Mapping) -> list[str]:
    value = piece.get(SUMMARIES[1])
    entries = value if isinstance(value, list) else [value]
    return [t for each in entries if isinstance(each, Mapping) for t in _texts(each.get("summary"))]


def _texts(value: object) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, str) and entry]


def _lines(texts: list[str]) -> list[str]:
    return [line for text in dict.fromkeys(texts) for line in text.split("\n") if line.strip()]
