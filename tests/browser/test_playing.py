"""Playing scores, MIDI and sound in the page, and what its modules read from them."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from browser.collection import abc_of, midi_of, pitches_of, shown
from formats.midi_files import key, midi
from playwright.sync_api import Browser, Page, expect

from clamp3.formats.synthesis.notes import read_notes

Open = Callable[..., Page]
MODALITIES = {"Scores": "abc", "MIDI": "mtf", "Sound": "audio"}


@pytest.mark.parametrize("kind", list(MODALITIES))
def test_playing(open_page: Open, kind: str):
    page = open_page(f"?text=reel&modality={MODALITIES[kind]}")
    card = page.locator(".card").first
    card.get_by_role("button", name="Play").click()
    expect(card).to_have_attribute("data-player", "playing")
    expect(card.locator(".time")).to_have_text(re.compile(r"^0:0[1-9] / "))
    if kind == "Scores":
        expect(card.locator("svg .sounding").first).to_be_attached()
    card.get_by_role("button", name="Stop").click()
    expect(card).to_have_attribute("data-player", "stopped")


def test_something_is_heard(open_page: Open):
    """The synthesiser's output, not just its clock: recorded in the page."""
    page = open_page()
    loudest = page.evaluate(
        """async () => {
            const { playNotes, runningContext } = await import("/static/synth.js");
            const { context, output } = await runningContext();
            const ear = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
            output.connect(ear);
            const note = { start: 0, end: 1, pitch: 69, program: 40, loudness: 0.8 };
            const { stop } = await playNotes([note], 0, () => {});
            await new Promise((resolve) => setTimeout(resolve, 700));
            const bins = new Float32Array(ear.frequencyBinCount);
            ear.getFloatFrequencyData(bins);
            stop();
            const top = bins.indexOf(Math.max(...bins));
            return [(top * context.sampleRate) / ear.fftSize, Math.max(...bins)];
        }"""
    )
    hertz, decibels = loudest
    assert hertz == pytest.approx(440, abs=12)
    assert decibels > -50


def test_one_thing_plays_at_a_time(open_page: Open):
    page = open_page("?text=reel&modality=mtf")
    first, second = page.locator(".card").nth(0), page.locator(".card").nth(1)
    first.get_by_role("button", name="Play").click()
    expect(first).to_have_attribute("data-player", "playing")
    second.get_by_role("button", name="Play").click()
    expect(second).to_have_attribute("data-player", "playing")
    expect(first).to_have_attribute("data-player", "stopped")
    page.keyboard.press("Escape")
    expect(second).to_have_attribute("data-player", "stopped")


def test_seeking(open_page: Open):
    page = open_page("?text=reel&modality=audio")
    card = page.locator(".card").first
    card.locator(".wave").click(position={"x": 5, "y": 5})
    expect(card.locator(".time")).to_have_text("0:00 / 0:02")
    box = card.locator(".wave").bounding_box()
    card.locator(".wave").click(position={"x": box["width"] / 2, "y": 5})
    expect(card.locator(".time")).to_have_text("0:01 / 0:02")
    slider = card.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    expect(card.locator(".time")).to_have_text("0:00 / 0:02")


@pytest.fixture(scope="module")
def modules(browser: Browser, address: str) -> Iterator[Page]:
    """A page to call the functions of the page's modules in."""
    page = browser.new_page()
    page.goto(address)
    yield page
    page.close()


def page_notes(page: Page, content: bytes) -> list[dict]:
    return page.evaluate(
        """async (bytes) => {
            const { midiNotes } = await import("/static/midi.js");
            return midiNotes(new Uint8Array(bytes).buffer);
        }""",
        list(content),
    )


def test_midi_is_read_as_by_the_library(modules: Page):
    """Tempo changes, running status, programs, drums, a note that never ends."""
    changes = [
        ("set_tempo", 0, {"tempo": 400_000}),
        ("set_tempo", 960, {"tempo": 700_000}),
        ("set_tempo", 480, {"tempo": 300_000}),
    ]
    programs = [("program_change", 0, {"program": 24, "channel": 2})]
    many = [event for n in range(12) for event in key(50 + n, delta=60, length=200, channel=2)]
    open_end = [("note_on", 10, {"note": 90, "velocity": 50, "channel": 2})]
    end = [("end_of_track", 300, {})]
    for content in (midi_of(1), midi(changes, programs + many + open_end + end, ticks=480)):
        ours = page_notes(modules, content)
        theirs = read_notes(content, 1e9)
        order = np.lexsort([[n["pitch"] for n in ours], [n["start"] for n in ours]])
        ours = [ours[n] for n in order]
        theirs = sorted(theirs, key=lambda note: (note.start_seconds, note.pitch))
        assert [n["pitch"] for n in ours] == [n.pitch for n in theirs]
        assert [n["program"] for n in ours] == [n.program for n in theirs]
        starts = [n.start_seconds for n in theirs]
        assert [n["start"] for n in ours] == pytest.approx(starts, abs=1e-6)
        closed = [k for k, n in enumerate(theirs) if n.pitch != 90]
        ends = [theirs[k].end_seconds for k in closed]
        assert [ours[k]["end"] for k in closed] == pytest.approx(ends, abs=0.02)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"RIFF....", "This is no MIDI file."), (b"", "This is no MIDI file.")],
)
def test_no_midi(modules: Page, content: bytes, sentence: str):
    message = modules.evaluate(
        """async (bytes) => {
            const { midiNotes } = await import("/static/midi.js");
            try { midiNotes(new Uint8Array(bytes).buffer); } catch (error) { return error.message; }
        }""",
        list(content),
    )
    assert message == sentence


def test_cut_midi_gives_what_there_is(modules: Page):
    whole = midi_of(4)
    assert 0 < len(page_notes(modules, whole[: len(whole) // 3])) < len(page_notes(modules, whole))


def excerpt(page: Page, abc: str, bars: int) -> dict:
    return page.evaluate(
        f"""async () => {{
            const {{ excerpt }} = await import("/static/excerpt.js");
            return excerpt({shown(abc)}, {bars});
        }}"""
    )


def test_first_bars(modules: Page):
    head = "X:1\nT:Title\nL:1/4\nM:4/4\nK:G\n"
    tune = head + 'V:1 nm="Flute"\nV:1\n|: GABc | "C|" d2 d2 :| %3\n[M:3/4] e3 | z3 |]\n'
    for bars, body in ((1, "|: GABc |"), (2, '|: GABc | "C|" d2 d2 :|')):
        found = excerpt(modules, tune, bars)
        assert found["abc"].splitlines()[-1] == body
        assert found["cut"]
        assert "T:" not in found["abc"]
        assert "Flute" not in found["abc"]
    assert excerpt(modules, tune, 3)["abc"].splitlines()[-1] == "[M:3/4] e3 |"
    assert not excerpt(modules, tune, 4)["cut"]
    voices = head + 'V:1 nm="A"\nV:2 nm="B"\nV:1\nGGGG | AAAA |\nV:2\nBBBB | cccc |\n'
    assert excerpt(modules, voices, 1)["abc"].splitlines()[-4:] == [
        "V:1",
        "GGGG |",
        "V:2",
        "BBBB |",
    ]
    assert 'nm="A"' in excerpt(modules, voices, 1)["abc"]
    mixed = head + "V:1\nV:2\n[V:1]GGGG |\n[V:2]BBBB |\n[V:1]AAAA |\n[V:2]cccc |\n"
    assert excerpt(modules, mixed, 1)["abc"].splitlines()[-2:] == ["[V:1]GGGG |", "[V:2]BBBB |"]


def test_notes_of_a_score(modules: Page):
    notes = modules.evaluate(
        f"""async () => {{
            const {{ Score }} = await import("/static/notation.js");
            return new Score({shown(abc_of(2))}, "it").notes;
        }}"""
    )
    assert [note["pitch"] for note in notes] == pitches_of(2).tolist()
    gaps = np.diff([note["start"] for note in notes])
    assert gaps == pytest.approx(np.full(63, 60 / 112), abs=1e-3)
