"""Damaged and monstrous files: every reader converts or refuses them, and soon.

The long run is benchmarks/fuzz.py; here is a short one, and that it would notice a fault.
"""

import importlib.util
import random
import re
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest
from refusals import refused
from repository import ROOT

from clamp3.errors import FormatError
from clamp3.formats.abc import alignment_warnings, deinterleave_abc, interleave_abc
from clamp3.formats.mtf import midi_to_mtf
from clamp3.formats.musicxml import musicxml_to_abc

CORPUS = Path(importlib.util.find_spec("music21").origin).parent / "corpus"
SCORES = [
    "demos/two-parts.xml",
    "demos/voices_with_chords.xml",
    "demos/nested_tuplet_finale_test.xml",
    "demos/multiple-verses.xml",
    "schoenberg/opus19/movement6.mxl",
]
BENCHMARKS = ROOT / "benchmarks"
RUN = "--inputs 200 --seed 7 --goldens none --processes 1"
MOST_SECONDS = 10


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("fuzz", BENCHMARKS / "fuzz.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(BENCHMARKS))
    del sys.modules["fuzz"], sys.modules["mutations"]


@pytest.mark.slow
def test_readers_survive_damage():
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "fuzz.py", *RUN.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 failures" in done.stdout
    lines = done.stdout.splitlines()
    readers = {
        line.split()[0] for line in lines if " converted, " in line and " 0 conv" not in line
    }
    expected = {"detect_format", "interleave_abc", "midi_to_mtf", "mtf_to_midi", "patches"}
    assert readers == {*expected, "musicxml_to_abc"}


def test_the_same_seed_gives_the_same_inputs(fuzz):
    sources = [fuzz.held("midi", "a", bytes(range(256))), fuzz.held("abc", "b", b"X:1\nK:C\nCDE|")]
    sources += [fuzz.held("mtf", "c", b"ticks_per_beat 1\n"), fuzz.held("musicxml", "d", b"<a/>")]
    first, again, other = (
        [fuzz.make_input(sources, seed, number) for number in range(50)] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_every_kind_of_damage_changes_something(fuzz):
    score = b"<score-partwise><part><measure><note><duration>1</duration></note></measure></part>"
    data = {
        "musicxml": score + b"<words number='1'>a</words>" * 20 + b"</score-partwise>",
        "abc": b"X:1\nL:1/8\nK:C\nV:1\nC2 D2|E4|\n",
        "mtf": b"ticks_per_beat 480\nnote_on 0 0 60 64\nend_of_track 0",
        "midi": b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x0b\0\x90\x3c\x40\x60\x3c\0\0\xff\x2f\0",
    }
    for kind, damages in sys.modules["mutations"].BY_KIND.items():
        for damage in damages:
            results = {damage(data[kind], random.Random(seed)) for seed in range(40)}
            assert len(results) > 1, damage.__name__


@pytest.mark.parametrize("name", SCORES)
def test_damaged_scores(fuzz, name):
    """Every kind of damage gives a tune or a refusal, and soon."""
    mutations = sys.modules["mutations"]
    data = mutations.unpack((CORPUS / name).read_bytes())
    for damage in mutations.BY_KIND["musicxml"]:
        for seed in range(2):
            start = time.monotonic()
            try:
                abc = musicxml_to_abc(damage(data, random.Random(seed)))
            except FormatError as error:
                assert re.fullmatch("[a-z_]+", error.kind)  # noqa: PT017 either outcome is right
            else:
                assert abc.startswith("X:1\n")
            assert time.monotonic() - start < MOST_SECONDS, damage.__name__


def test_faults_are_told_from_refusals(fuzz, monkeypatch):
    monkeypatch.setattr(fuzz, "MOST_SECONDS", 0.2)
    before = signal.signal(signal.SIGPROF, fuzz.too_slow)
    try:
        empty, lost, endless = (
            fuzz.attempt(reader, b"")
            for reader in (
                midi_to_mtf,
                lambda data: {}["x"],
                lambda data: [None for _ in count() if _ < 0],
            )
        )
    finally:
        signal.signal(signal.SIGPROF, before)
    assert empty[1:3] == (None, "empty_file")
    assert lost[1].startswith("KeyError: 'x' at test_fuzz.py")
    assert "more than 0.2 s" in endless[1]


def test_a_failing_reader_fails_the_run(fuzz, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "midi_to_mtf", lambda data, keep_metadata=False: data[10**9])
    monkeypatch.setattr(
        fuzz, "find_sources", lambda goldens: [fuzz.held(k, k, b"x" * 99) for k in fuzz.SHARES]
    )
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--inputs", "30", "--processes", "1"])
    assert fuzz.main() == 1
    assert "midi_to_mtf: IndexError" in capsys.readouterr().out


# Monsters: what would take for ever, or all memory, if it were not bounded

NOTE = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration>%s</note>"
DIRECTION = "<direction><direction-type>%s</direction-type></direction>"
OCTAVE = DIRECTION % "<octave-shift type='%s'/>"
DIVISIONS = "<attributes><divisions>%s</divisions></attributes>"
CLEF = "<attributes><clef><clef-octave-change>%s</clef-octave-change></clef></attributes>"
TREMOLO = "<notations><ornaments><tremolo type='start'>%s</tremolo></ornaments></notations>"


def voices(number):
    return "".join(NOTE % f"<voice>{i}</voice>" for i in range(number))


def partwise(inside, times=1):
    measures = f"<measure>{inside}</measure>" * times
    return f"<score-partwise><part id='P'>{measures}</part></score-partwise>".encode()


def divisions(number):
    values = (1_000_003 + 2 * i for i in range(number))
    return "".join(DIVISIONS % value + NOTE % "" for value in values)


def timewise(parts, measures):
    inside = "".join(f"<part id='{i}'>{NOTE % ''}</part>" for i in range(parts))
    lonely = "".join(f"<measure><part id='m{i}'/></measure>" for i in range(measures))
    return f"<score-timewise><measure>{inside}</measure>{lonely}</score-timewise>".encode()


MONSTROUS_SCORES = {
    "voices": (partwise(voices(2000), 50), "too_large"),
    "octave lines": (
        partwise(voices(3000) + (OCTAVE % "down" + OCTAVE % "stop") * 3000),
        "too_large",
    ),
    "parts": (timewise(100, 4000), "too_large"),
    "divisions": (partwise(divisions(20_000)), None),
    "attributes": (partwise("<a b='1'/>" * 2_000_000), "too_large"),
    "deep": (b"<a>" * 300_000, "malformed_xml"),
    "octaves": (partwise(CLEF % "1000000000" + NOTE % "" + CLEF % "-1000000000" + NOTE % ""), None),
    "strokes": (partwise(NOTE % (TREMOLO % ("9" * 5000)) * 2), None),
    "nested": (partwise("<a>" * 100_000 + "</a>" * 100_000 + NOTE % ""), None),
    "pedals": (partwise(DIRECTION % "<pedal type='stop'/>" * 20_000 + NOTE % ""), None),
    "words": (partwise(DIRECTION % "<words>a</words>" * 20_000 + NOTE % ""), None),
    "fine divisions": (partwise(DIVISIONS % 2**29 * 100 + NOTE % ""), None),
}


@pytest.mark.parametrize(("data", "kind"), MONSTROUS_SCORES.values(), ids=list(MONSTROUS_SCORES))
def test_monstrous_scores(data, kind):
    start = time.process_time()
    if kind is None:
        assert " | %1" in musicxml_to_abc(data)
    else:
        with refused(kind):
            musicxml_to_abc(data)
    assert time.process_time() - start < MOST_SECONDS


MONSTROUS_TUNES = {
    "unclosed voices": "[V:1" * 200_000,
    "unclosed everything": '[V:1{"!(' * 100_000 + "C|",
    "unclosed chords": "C|"
    + "[" * 200_000
    + "{" * 200_000
    + "[K:" * 100_000
    + "(3" * 99_999
    + "C|",
    "words": "".join(f'"|{i}"C' for i in range(200_000)) + "|",
    "placed words": "C|" + "".join(f'"^{i}"C' for i in range(200_000)) + "|",
    "fields": "C|" + "".join(f"[K:{i}]" for i in range(200_000)) + "C|",
    "voices": "".join(f"V:{i}\nC|\n" for i in range(50_000)),
    "comments": '%1"' * 300_000 + "C|\nC|",
}


@pytest.mark.parametrize("music", MONSTROUS_TUNES.values(), ids=list(MONSTROUS_TUNES))
def test_monstrous_tunes(music):
    text = "X:1\nK:C\n" + music
    start = time.process_time()
    for reader in (alignment_warnings, lambda abc: deinterleave_abc(interleave_abc(abc))):
        try:
            reader(text)
        except FormatError as error:
            assert error.kind != "too_large"  # noqa: PT017
    assert time.process_time() - start < MOST_SECONDS


def test_a_text_beyond_the_limit_is_refused():
    with refused("too_large", "expected at most 8000000"):
        interleave_abc("X:1\nK:C\n" + "C" * 8_000_000)
