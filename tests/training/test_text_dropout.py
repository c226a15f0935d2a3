"""Which texts a piece shows in training."""

import itertools
from collections import Counter

import numpy as np
import pytest

from clamp3.data.manifests import read_manifest
from clamp3.files import write_jsonl
from clamp3.training.text_dropout import all_texts, dropped_text, fixed_text, has_text

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


# --- CLaMP 2 ---

SONG = {
    "title": "The Otter's Holt",
    "genres": ["reel", "folk"],
    "notes": None,
    "summary_en": ["A reel in B minor.", "A dance\nfrom Ireland."],
    "summary_nen": [
        {"language": "German", "summary": "Ein Reel in h-Moll."},
        {"language": "French", "summary": "Un reel en si mineur."},
    ],
}


def _said(song, count=8000):
    rngs = (np.random.default_rng(seed) for seed in range(count))
    return [dropped_text(song, rng, "clamp2") for rng in rngs]


def test_clamp2_makes_do_with_what_there_is():
    def shown(**changes):
        return set(_said(SONG | changes, 100))

    german = {"Ein Reel in h-Moll.", "Un reel en si mineur."}
    bare = {"title": None, "genres": []}
    assert shown(**bare, summary_en=[]) == german
    assert shown(**bare, summary_nen=None) == {"A reel in B minor.", "A dance from Ireland."}
    assert shown(**bare, summary_en=None, summary_nen=None) == {""}
    assert shown(summary_en=None, summary_nen=None, genres=None) == {"The Otter's Holt"}
    assert not shown(summary_en=None) & {"A reel in B minor."}


def test_one_summary_need_not_stand_in_a_list():
    one = SONG | {"summary_en": "A reel.", "summary_nen": SONG["summary_nen"][0]}
    listed = SONG | {"summary_en": ["A reel."], "summary_nen": SONG["summary_nen"][:1]}
    assert _said(one, 400) == _said(listed, 400)
    assert "Ein Reel in h-Moll." in _said(one, 400)


def test_clamp2_reads_its_own_manifests(tmp_path):
    write_jsonl(tmp_path / "m.jsonl", [SONG | {"filepaths": ["a/x.abc", "a/x.mtf"]}])
    (line,) = read_manifest(tmp_path / "m.jsonl")
    assert [dropped_text(line, np.random.default_rng(s), "clamp2") for s in range(50)] == (
        _said(SONG, 50)
    )
    assert fixed_text(line) == "A reel in B minor."
    assert all_texts(line)[-2:] == ["Ein Reel in h-Moll.", "Un reel en si mineur."]


def _original(song):
    """The chance of every text, word by word as CLaMP 2's rule has it; None where it would fail."""
    found = Counter()
    fields = [song[key] for key in song if key not in ("summary_en", "summary_nen", "filepaths")]
    texts = [t for value in fields for t in (value if isinstance(value, list) else [value]) if t]
    lines = "\n".join(sorted(set(texts))).split("\n")
    for kept in itertools.product([False, True], repeat=len(lines)):
        chosen = [line for line, keep in zip(lines, kept, strict=True) if keep and line] or lines
        orders = list(itertools.permutations(chosen))
        for order in orders:
            found["\n".join(order)] += 0.5 / 2 ** len(lines) / len(orders)
    for text in song["summary_en"]:
        found[text.replace("\n", " ")] += 0.25 / len(song["summary_en"])
    for entry in song["summary_nen"]:
        found[entry["summary"].replace("\n", " ")] += 0.25 / len(song["summary_nen"])
    return found


@pytest.mark.parametrize(
    "song",
    [
        {"title": "A", "composer": None, "lyrics": "la\nlo", "tags": ["A", "b"]},
        {"title": None, "genres": ["jig"], "mood": "calm"},
        {"description": "Same.\nSame."},
        {key: SONG[key] for key in ("title", "genres", "notes")},
    ],
)
@pytest.mark.parametrize("other", [["Un."], ["Un.\nDeux.", "Uno.", "Eins."]])
def test_clamp2_says_each_text_as_often_as_the_original(song, other):
    named = [{"language": "any", "summary": text} for text in other]
    song = song | {"summary_en": ["One.", "Two."], "summary_nen": named, "filepaths": ["x.abc"]}
    expected, draws = _original(song), 6000
    found = Counter(_said(song, draws))
    assert sum(expected.values()) == pytest.approx(1)
    assert set(found) <= set(expected)
    for text, chance in expected.items():
        spread = (draws * chance * (1 - chance)) ** 0.5
        assert abs(found[text] - draws * chance) < 4.5 * spread, text


@pytest.mark.parametrize("missing", [None, [], "", ...])
def test_a_piece_with_one_kind_of_summary_says_it_in_every_other_look(missing):
    both = SONG | {"summary_en": ["E."], "summary_nen": {"language": "German", "summary": "D."}}
    for name, said in (("summary_en", "D."), ("summary_nen", "E.")):
        song = {key: value for key, value in both.items() if key != name}
        texts = Counter(_said(song if missing is ... else song | {name: missing}, 2000))
        assert abs(texts[said] / 2000 - 0.5) < 0.05
        assert not texts[{"D.": "E.", "E.": "D."}[said]]


def test_a_piece_with_nothing_but_a_foreign_summary_is_one_of_clamp2():
    bare = {"title": None, "genres": [], "summary_nen": [{"language": "Thai", "summary": "ก ข"}]}
    assert set(_said(bare, 50)) == {"ก ข"}
    assert fixed_text(bare, "summary_en") == "ก ข"
    assert has_text(bare, "clamp2")
    assert has_text(bare, "none")
    assert not has_text(bare)
    assert not has_text({"summary_nen": [{"language": "Thai", "summary": None}]}, "clamp2")
