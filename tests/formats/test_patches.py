"""Patches of scores and performances."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unidecode import unidecode

from clamp3.errors import FormatError
from clamp3.formats.abc import interleave_abc
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.patches import (
    MASK_ID,
    PATCH_LENGTH,
    PATCH_SIZE,
    VOCABULARY_SIZE,
    decode_patches,
    encode_patches,
    remove_instruments,
    truncate_patches,
)

GOLDEN = Path(__file__).parent.parent / "golden"


def golden(name):
    with gzip.open(GOLDEN / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


RECORDED = golden("patchilizer")
CASES = RECORDED["cases"]
CRASHING = [name for name, case in CASES.items() if isinstance(case["patches"], dict)]


def padded(rows, size=PATCH_SIZE):
    return np.array([row + [0] * (size - len(row)) for row in rows], int).reshape(-1, size)


# Against the original


@pytest.mark.parametrize("name", [name for name in CASES if name not in CRASHING])
def test_recorded_case(name):
    case = CASES[name]
    patches = encode_patches(case["text"], special=False)
    assert patches.dtype == np.uint8
    np.testing.assert_array_equal(patches, padded(case["patches"]))
    assert decode_patches(patches) == case["decoded"]
    framed = encode_patches(case["text"])
    assert len(framed) == case["n_with_special"]
    assert framed[0].tolist() == RECORDED["special"]["bos_patch"]
    assert framed[-1].tolist() == RECORDED["special"]["eos_patch"]
    np.testing.assert_array_equal(framed[1:-1], patches)


def test_what_crashes_the_original_is_named():
    assert len(CASES) == 80
    kinds = {}
    for name in CRASHING:
        with pytest.raises(FormatError) as caught:
            encode_patches(CASES[name]["text"])
        kinds[name] = caught.value.kind
    assert kinds == {
        "err_empty": "empty_text",
        "err_only_L": "empty_text",
        "err_only_barline": "lone_barline",
        "err_only_barline_line": "lone_barline",
    }


def test_instruments_are_removed_as_by_the_original():
    for name, case in golden("remove_instrument_info").items():
        if "out" in case:
            assert remove_instruments(case["in"]) == case["out"], name
        else:
            with pytest.raises(FormatError) as caught:
                remove_instruments(case["in"])
            assert caught.value.kind == "empty_text"


# Against a slow, plain encoder


def pieces_of(line):
    """Texts and bar lines of a line, read character by character."""
    pieces, text, place = [], "", 0
    while place < len(line):
        pair = line[place : place + 2]
        if pair in ("|:", "::", ":|", "[|", "||", "|]"):
            token = pair
        elif line[place] == "|":
            token = "|"
        else:
            text += line[place]
            place += 1
            continue
        pieces += [text, token] if text else [token]
        text, place = "", place + len(token)
    return [*pieces, text] if text else pieces


def plain_bars(line):
    pieces = pieces_of(line)
    tokens = {"|:", "::", ":|", "[|", "||", "|]", "|"}
    if pieces[0] in tokens:
        pieces = [pieces[0] + pieces[1], *pieces[2:]]
    bars = []
    while len(pieces) >= 2:
        bars.append(pieces.pop(0) + pieces.pop(0))
    return [*bars[:-1], bars[-1] + "\n"] if bars else []


def plain_runs(lines, size):
    runs = []
    for line in lines:
        words = line.split(" ")
        rest = " ".join(words[1:])
        if runs and runs[-1].startswith(words[0]) and len(runs[-1] + rest) <= size - 2:
            runs[-1] = runs[-1][:-1] + "\t" + rest
        else:
            runs.append(line)
    return runs


def plain_patches(text, size):
    text = unidecode(text.replace("L:1/8\n", ""))
    lines = text.splitlines(keepends=True) if text.isprintable() else []
    if not lines:
        lines = [line + "\n" for line in text.split("\n")]
        lines[-1] = lines[-1][:-1]
        lines = [line for line in lines if line]
    if lines[0].split(" ")[0] == "ticks_per_beat":
        patches = plain_runs(lines, size)
    else:
        patches = []
        for line in lines:
            is_header = len(line) > 1 and line[0].isalpha() and line[1] == ":"
            patches += [line] if is_header or line[:2] == "%%" else plain_bars(line)
    rows = [[1, *map(ord, patch), 2][:size] for patch in patches]
    return padded(rows, size)


SCORE_SCRAPS = "K:C,L:1/8\n,\n,\n,|,||,|:,:|,::,[|,|],[V:1],CDE,%%x,w:a,é,│,:,1,\t,c d e f g a b c"
EVENT_SCRAPS = "\n,\n,note_on 0 0 60 64,note,note_off 5 0 60 0,tempo, ,1 2,L:1/8\n,é,\t,n"


def scraps(text):
    return st.lists(st.sampled_from(text.split(",")), min_size=1, max_size=40).map("".join)


@given(
    st.one_of(scraps(SCORE_SCRAPS), scraps(EVENT_SCRAPS).map("ticks_per_beat 480\n".__add__)),
    st.sampled_from([64, 64, 16, 200]),
)
@settings(max_examples=600, deadline=None)
def test_any_text_is_cut_as_by_the_plain_encoder(text, size):
    try:
        expected = plain_patches(text, size)
    except IndexError:
        with pytest.raises(FormatError):
            encode_patches(text, patch_size=size)
        return
    found = encode_patches(text, patch_size=size, special=False)
    np.testing.assert_array_equal(found, expected)
    assert found.max(initial=0) < VOCABULARY_SIZE


@given(st.text(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_patches_or_a_format_error(text):
    try:
        patches = encode_patches(text)
    except FormatError:
        return
    assert patches.shape[1] == PATCH_SIZE
    assert (patches < VOCABULARY_SIZE).all()


def test_lone_surrogates_are_left_out():
    assert decode_patches(encode_patches("T:a\udc80b\n")) == "T:ab\n"


# Real files


def test_real_scores_survive_decoding():
    with gzip.open(GOLDEN / "scores_curated.jsonl.gz", "rt", encoding="utf-8") as file:
        scores = [json.loads(line)["standard_abc"] for line in file]
    whole = 0
    for score in filter(None, scores):
        text = interleave_abc(score)
        patches = encode_patches(text)
        plain = unidecode(text.replace("L:1/8\n", ""))
        # Encoding loses what stands after the last bar line of a line, such as an ending's number.
        lines_are_kept = all(
            line[1:2] == ":" or line[:2] == "%%" or line.endswith(("|", "|]", "::", "|:"))
            for line in plain.split("\n")[:-1]
        )
        if lines_are_kept and (patches[1:-1, -1] == 0).all():
            assert decode_patches(patches) == plain
            whole += 1
    assert whole > 40


def test_performance_patches_hold_every_event():
    for row in pyarrow.parquet.read_table(GOLDEN / "midi.parquet").to_pylist()[:20]:
        text = midi_to_mtf(row["midi"])
        rows = decode_patches(encode_patches(text)).split("\n")
        if max(len(line) for line in text.split("\n")) < PATCH_SIZE - 2:
            events = []
            for line in rows:
                kind, _, rest = line.partition(" ")
                events += [f"{kind} {values}".rstrip() for values in rest.split("\t")]
            assert events == text.split("\n"), row["id"]


# Cutting long sequences


def test_short_sequences_are_whole_and_cost_no_draw():
    generator = np.random.default_rng(0)
    state = generator.bit_generator.state
    patches = np.arange(12).reshape(4, 3)
    assert truncate_patches(patches, 4, generator) is patches
    assert generator.bit_generator.state == state


def test_without_generator_it_is_the_head():
    np.testing.assert_array_equal(truncate_patches(np.arange(10), 4), [0, 1, 2, 3])
    assert len(truncate_patches(np.zeros((600, 64)))) == PATCH_LENGTH


def test_places_follow_the_originals_law():
    recorded = golden("patchilizer_truncate_B")
    surplus = recorded["n_full"] - recorded["patch_length"]
    histogram = recorded["random_truncate_start_histogram"]
    assert len(encode_patches(recorded["text"])) == recorded["n_full"]
    generator = np.random.default_rng(7)
    sequence = np.arange(recorded["n_full"])
    starts = Counter()
    for _ in range(histogram["n"]):
        part = truncate_patches(sequence, recorded["patch_length"], generator)
        np.testing.assert_array_equal(part, np.arange(part[0], part[0] + len(part)))
        assert len(part) == recorded["patch_length"]
        starts[int(part[0])] += 1
    assert set(starts) == set(map(int, histogram["counts"]))
    # Head, tail (which the middle meets once in `surplus` times) and each place between.
    expected = np.full(surplus + 1, 1 / 3 / surplus)
    expected[0] = 1 / 3
    expected[-1] += 1 / 3
    for counts in (starts, {int(k): v for k, v in histogram["counts"].items()}):
        found = np.array([counts[start] for start in range(surplus + 1)])
        chi_square = ((found - histogram["n"] * expected) ** 2 / (histogram["n"] * expected)).sum()
        assert chi_square < surplus + 5 * np.sqrt(2 * surplus)


def test_the_place_between_may_be_the_tail_but_not_the_head():
    generator = np.random.default_rng(1)
    starts = Counter(int(truncate_patches(np.arange(6), 4, generator)[0]) for _ in range(6000))
    # A third head; a third tail; a third over the places 1 and 2, of which 2 is the tail.
    assert starts[0] == pytest.approx(2000, abs=150)
    assert starts[1] == pytest.approx(1000, abs=150)
    assert starts[2] == pytest.approx(3000, abs=150)


def test_decoding_leaves_special_characters_out():
    patches = np.array([[1, 65, 2, 0], [3, 3, 3, 3], [1, 66, 10, 2]])
    assert MASK_ID == 3
    assert decode_patches(patches) == "AB\n"
