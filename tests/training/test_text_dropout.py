"""Which texts a piece shows in training."""

from collections import Counter

import numpy as np

from clamp3.training.text_dropout import all_texts, dropped_text, fixed_text

PIECE = {
    "title": "The Otter's Holt",
    "artists": None,
    "language": "English",
    "genres": ["reel", "folk"],
    "tags": [],
    "background": "First line.\nSecond line.",
    "analysis": "In B minor.",
    "translations": {"language": "German", "analysis": "In h-Moll.", "scene": ""},
}
ORIGINALS = ["The Otter's Holt", "reel", "folk", "First line.", "Second line.", "In B minor."]


def _draws(piece, count=4000):
    return [dropped_text(piece, np.random.default_rng(seed)) for seed in range(count)]


def test_half_the_texts_are_translations():
    share = Counter(text == "In h-Moll." for text in _draws(PIECE))[True] / 4000
    assert abs(share - 0.5) < 0.03


def test_each_line_stays_with_chance_one_half_in_any_order():
    draws = [text.split("\n") for text in _draws(PIECE | {"translations": {}})]
    kept = Counter(line for lines in draws for line in lines)
    assert sorted(kept) == sorted(ORIGINALS)
    # One more chance: if no line stays (1 in 64) all do.
    assert all(abs(kept[line] / 4000 - (0.5 + 1 / 64)) < 0.03 for line in ORIGINALS)
    both = [lines for lines in draws if {"reel", "folk"} <= set(lines)]
    first = sum(lines.index("reel") < lines.index("folk") for lines in both)
    assert abs(first / len(both) - 0.5) < 0.05


def test_repeated_fields_count_once_and_the_order_does_not_depend_on_hashes():
    piece = {"title": "a", "genres": ["b", "a", "b"], "translations": None}
    assert all_texts(piece) == ["a", "b"]
    assert set(_draws(piece, 200)) == {"a", "b", "a\nb", "b\na"}


def test_language_id_and_files_are_no_text():
    piece = {"id": "x", "filepaths": ["y.abc"], "language": "English", "translations": {}}
    assert dropped_text(piece, np.random.default_rng(0)) == ""
    assert fixed_text(piece) == ""


def test_fixed_text_is_the_field_or_all_there_is():
    assert fixed_text(PIECE) == "In B minor."
    assert fixed_text(PIECE, "background") == "First line.\nSecond line."
    without = PIECE | {"analysis": None}
    assert fixed_text(without) == "\n".join(ORIGINALS[:-1])
    assert all_texts(PIECE) == [*ORIGINALS, "In h-Moll."]
