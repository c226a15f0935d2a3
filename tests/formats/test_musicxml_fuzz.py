"""Damaged scores give an ABC tune or a FormatError, and soon."""

import random
import re
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from clamp3.errors import FormatError
from clamp3.formats.musicxml import musicxml_to_abc

CORPUS = Path(find_spec("music21").origin).parent / "corpus"
SOURCES = [
    "demos/two-parts.xml",
    "demos/voices_with_chords.xml",
    "demos/nested_tuplet_finale_test.xml",
    "demos/multiple-verses.xml",
    "schoenberg/opus19/movement6.mxl",
]
VALUES = [
    "",
    "0",
    "-1",
    "99999999999999",
    "1e308",
    "nan",
    "inf",
    "abc",
    "3.7",
    "1_0",
    "٣",
    '"',
    "|",
]
MOST_SECONDS = 10


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data))]


def flip(data: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(dice.randrange(1, 20)):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    return bytes(damaged)


def change_text(data: bytes, dice: random.Random) -> bytes:
    return re.sub(
        rb">[^<>]*<",
        lambda m: f">{dice.choice(VALUES)}<".encode() if dice.random() < 0.02 else m.group(),
        data,
    )


def change_attributes(data: bytes, dice: random.Random) -> bytes:
    return re.sub(
        rb'="[^"]*"',
        lambda m: b'="-5"' if dice.random() < 0.03 else m.group(),
        data,
    )


def shuffle_lines(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\n")
    for _ in range(20):
        i, j = dice.randrange(len(lines)), dice.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def drop_elements(data: bytes, dice: random.Random) -> bytes:
    tag = dice.choice(
        [b"pitch", b"duration", b"voice", b"staff", b"divisions", b"step", b"attributes", b"chord"]
    )
    return re.sub(
        rb"<%s\b[^>]*?(/>|>.*?</%s>)" % (tag, tag),
        lambda m: b"" if dice.random() < 0.3 else m.group(),
        data,
        flags=re.DOTALL,
    )


@pytest.mark.parametrize(
    "damage", [cut, flip, change_text, change_attributes, shuffle_lines, drop_elements]
)
@pytest.mark.parametrize("name", SOURCES)
def test_damaged_scores(name, damage):
    data = (CORPUS / name).read_bytes()
    if data.startswith(b"PK") and damage not in (cut, flip):
        pytest.skip("an archive has no lines of XML")
    for seed in range(8):
        start = time.monotonic()
        try:
            abc = musicxml_to_abc(damage(data, random.Random(seed)))
        except FormatError as error:
            assert re.fullmatch("[a-z_]+", error.kind)  # noqa: PT017 either outcome is right
        else:
            assert abc.startswith("X:1\n")
        assert time.monotonic() - start < MOST_SECONDS


@pytest.mark.parametrize(
    "inside",
    [
        "<a>" * 100_000 + "</a>" * 100_000,
        '<direction><direction-type><pedal type="stop"/></direction-type></direction>' * 20_000,
        "<direction><direction-type><words>a</words></direction-type></direction>" * 20_000,
        f"<attributes><divisions>{2**29}</divisions></attributes>" * 100,
    ],
    ids=["deep", "pedals", "words", "divisions"],
)
def test_monsters(inside):
    note = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration></note>"
    text = f'<score-partwise><part id="P"><measure>{inside}{note}</measure></part></score-partwise>'
    start = time.monotonic()
    assert " | %1" in musicxml_to_abc(text.encode())
    assert time.monotonic() - start < MOST_SECONDS
