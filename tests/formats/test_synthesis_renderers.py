"""Who plays: FluidSynth if it is there, with a stand-in for it, else the own synthesiser."""

import stat
import sys

import mido
import numpy as np
import pytest
from midi_files import RATE, control, key, loudest_hz, midi
from refusals import refused

from clamp3.errors import ConfigError
from clamp3.formats.synthesis import find_fluidsynth, find_renderer, renderers

# Plays each note of its MIDI file as a sine, to the file after -F.
STAND_IN = """#!{python}
import sys
if "--version" in sys.argv:
    print("FluidSynth runtime version 2.3.1")
    sys.exit()
import mido, numpy, soundfile
assert open(sys.argv[-2], "rb").read(4) == b"font"
rate = int(sys.argv[sys.argv.index("-r") + 1])
file = mido.MidiFile(sys.argv[-1])
wave = numpy.zeros((int(file.length * rate), 2))
now = 0
for message in file:
    now += message.time
    if message.type == "note_on" and message.velocity:
        t = numpy.arange(rate // 4) / rate
        sound = numpy.sin(2 * numpy.pi * 440 * 2 ** ((message.note - 69) / 12) * t)
        at = int(now * rate)
        wave[at : at + len(sound)] += 0.1 * sound[: len(wave) - at, None]
soundfile.write(sys.argv[sys.argv.index("-F") + 1], wave, rate)
"""


@pytest.fixture
def font(tmp_path):
    path = tmp_path / "small.sf2"
    path.write_bytes(b"font")
    return path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a program called fluidsynth and nothing else findable."""

    def put(text):
        program = tmp_path / "bin" / "fluidsynth"
        program.parent.mkdir()
        program.write_text(text.format(python=sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent))

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(renderers, "SOUNDFONT_FOLDERS", ())
    return put


def test_without_fluidsynth_or_without_a_soundfont_we_play(install, font):
    assert find_fluidsynth(font) is None
    assert find_renderer({}).name == "clamp3 synthesiser"
    install(STAND_IN)
    assert find_fluidsynth() is None
    assert find_renderer({}).name == "clamp3 synthesiser"
    made = find_renderer({}).render(midi(key()), 1.0, RATE)
    assert loudest_hz(made) == pytest.approx(440, abs=1)


def test_an_installed_soundfont_is_found(install, font, monkeypatch):
    install(STAND_IN)
    (font.parent / "default-GM.sf3").write_bytes(b"font")
    (font.parent / "a.txt").write_bytes(b"font")
    monkeypatch.setattr(renderers, "SOUNDFONT_FOLDERS", ("/nowhere", str(font.parent)))
    assert "default-GM.sf3" in find_renderer({}).name
    assert find_renderer({"CLAMP3_SOUNDFONT": "none"}).name == "clamp3 synthesiser"
    assert find_renderer({"CLAMP3_SOUNDFONT": str(font)}).name.startswith(
        "fluidsynth 2.3.1, small.sf2 "
    )


def test_a_wish_that_cannot_be_met(install, font, tmp_path):
    with pytest.raises(ConfigError, match="not installed"):
        find_renderer({"CLAMP3_SOUNDFONT": str(font)})
    with pytest.raises(ConfigError, match="no such file"):
        find_renderer({"CLAMP3_SOUNDFONT": str(tmp_path / "none.sf2")})


def test_fluidsynth_plays_the_beginning(install, font, tmp_path):
    install(STAND_IN)
    tempo = ("set_tempo", 0, {"tempo": 1_000_000})
    track = [tempo, control(7, 90), *key(57, delta=480), *key(81, delta=480 * 3)]
    path = tmp_path / "-odd name.mid"
    path.write_bytes(midi(track))
    made = find_fluidsynth(font).render(path, 3.0, RATE)
    assert len(made) == 3 * RATE
    assert np.abs(made).max() == pytest.approx(0.9)
    assert np.argmax(np.abs(made) > 0.05) == pytest.approx(RATE, abs=20)
    assert loudest_hz(made) == pytest.approx(220, abs=1)


def test_the_beginning_keeps_channels_and_times():
    track = [("program_change", 0, {"program": 40, "channel": 3}), *key(60, 100, 200, channel=3)]
    late = [("set_tempo", 0, {"tempo": 300_000}), ("set_tempo", 150, {"tempo": 900_000})]
    data = midi(track, late)
    whole = renderers.read_midi(data)
    cut = renderers.read_midi(renderers._beginning(whole, 100))
    before = [(t, m.copy(time=0)) for t, m in renderers.timed_messages(whole)]
    before = [(t, m) for t, m in before if not m.is_meta]
    after = [(t, m.copy(time=0)) for t, m in renderers.timed_messages(cut) if not m.is_meta]
    assert [m for _, m in after] == [m for _, m in before]
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in before], atol=1e-3)
    assert isinstance(cut, mido.MidiFile)
    assert cut.length == pytest.approx(101)


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\necho cannot load SoundFont >&2; exit 3\n", "#!/bin/sh\nexit 0\n"],
)
def test_a_fluidsynth_that_fails_rejects_the_piece(install, font, text):
    install(text)
    with refused("renderer_failed", "status"):
        find_fluidsynth(font).render(midi(key()), 1.0, RATE)


def test_a_damaged_midi_file_is_our_finding(install, font):
    install(STAND_IN)
    with refused("bad_midi"):
        find_fluidsynth(font).render(b"MThd", 1.0, RATE)
