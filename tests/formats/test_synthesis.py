"""What the synthesiser plays: the right pitch at the right time, for every program."""

import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from midi_files import RATE, control, key, loudest_hz, midi
from refusals import refused
from repository import ROOT

from clamp3.errors import FormatError
from clamp3.formats.synthesis import render_midi
from clamp3.formats.synthesis.notes import DRUMS, read_notes


def onset_seconds(waveform, after):
    """The first moment after `after` at which the sound is a tenth of its peak."""
    start = round(after * RATE)
    return (start + np.argmax(np.abs(waveform[start:]) > 0.1 * np.abs(waveform).max())) / RATE


def times(notes):
    return [(round(n.start_seconds, 6), round(n.end_seconds, 6), n.pitch) for n in notes]


@pytest.mark.parametrize("program", range(128))
def test_a4_is_440_hz_on_every_instrument(program):
    data = midi([("program_change", 0, {"program": program}), *key(69, length=960)])
    assert loudest_hz(render_midi(data, 2.0)) == pytest.approx(440, abs=0.5)


@pytest.mark.parametrize("pitch", [33, 45, 57, 60, 81, 93, 105])
def test_other_pitches(pitch):
    made = render_midi(midi([("program_change", 0, {"program": 73}), *key(pitch)]), 2.0)
    assert loudest_hz(made) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=1e-3)


def test_no_partial_folds_back():
    """The highest key lies above half the sample rate: it is silent, not another note."""
    with pytest.raises(FormatError, match="nothing sounds"):
        render_midi(midi(key(127)), 2.0)
    made = render_midi(midi([("program_change", 0, {"program": 56}), *key(120, length=960)]), 2.0)
    spectrum = np.abs(np.fft.rfft(made * np.hanning(len(made))))
    hertz = np.fft.rfftfreq(len(made), 1 / RATE)
    assert spectrum[abs(hertz - 8372) > 100].max() < 0.01 * spectrum.max()


def test_instruments_differ():
    spectra = []
    for program in range(128):
        data = midi([("program_change", 0, {"program": program}), *key(57, length=960)])
        spectrum = np.abs(np.fft.rfft(render_midi(data, 1.0), RATE))
        spectra.append(spectrum / np.linalg.norm(spectrum))
    likeness = np.array(spectra) @ np.array(spectra).T - 2 * np.eye(len(spectra))
    assert np.quantile(likeness.max(axis=1), 0.9) < 0.999
    assert likeness[::8, ::8].max() < 0.998


def test_onsets_follow_the_tempo_map():
    """Four beats at 120, then four at 60, then 240: the last tempo comes in another track."""
    tempi = [
        ("set_tempo", 0, {"tempo": 500_000}),
        ("set_tempo", 4 * 480, {"tempo": 1_000_000}),
        ("set_tempo", 4 * 480, {"tempo": 250_000}),
    ]
    notes = [event for _ in range(10) for event in key(delta=384, length=96)]
    data = midi(tempi, [("program_change", 0, {"program": 115}), *notes])
    beats = np.arange(10) + 0.8
    expected = np.interp(beats, [0, 4, 8, 12], [0, 2, 6, 7])
    np.testing.assert_allclose([n.start_seconds for n in read_notes(data, 20)], expected)
    made = render_midi(data, 20)
    for onset in expected:
        assert onset_seconds(made, onset - 0.03) == pytest.approx(onset, abs=0.005)


@pytest.mark.parametrize(
    ("division", "per_second"),
    [(96, 192), (-25 * 256 + 40, 1000), (-30 * 256 + 80, 2400), (-29 * 256 + 100, 2997.003)],
)
def test_ticks_of_beats_and_of_film_frames(division, per_second):
    data = bytearray(midi(key(delta=5000, length=100)))
    data[12:14] = (division & 0xFFFF).to_bytes(2, "big")
    assert read_notes(bytes(data), 60)[0].start_seconds == pytest.approx(5000 / per_second)


def test_length_and_peak():
    made = render_midi(midi(key(length=480 * 4)), 20)
    assert 2.0 < len(made) / RATE < 2.5
    assert made.dtype == np.float32
    assert np.abs(made).max() == pytest.approx(0.9, abs=1e-6)
    assert len(render_midi(midi(key(length=480 * 100)), 20)) == 20 * RATE
    assert len(render_midi(midi(key()), 0.25, 8_000)) == 2_000


def test_no_clicks():
    """Sound begins and ends near zero, and no step is larger than a partial can make."""
    made = render_midi(midi(key(57, length=2000)), 20)
    assert abs(made[0]) < 0.02
    assert abs(made[-1]) < 1e-4
    assert np.abs(np.diff(made[200:])).max() < 0.4


def test_the_same_file_gives_the_same_bytes():
    drums = [event for pitch in (36, 38, 42, 49, 45, 60) for event in key(pitch, channel=9)]
    data = midi([*key(60), *key(64), *drums])
    assert render_midi(data, 5).tobytes() == render_midi(data, 5).tobytes()


def test_paths_and_bytes(tmp_path):
    path = tmp_path / "piece.mid"
    path.write_bytes(midi(key()))
    np.testing.assert_array_equal(render_midi(path, 2), render_midi(path.read_bytes(), 2))


def test_voices_add_up():
    """Two instruments together are their sum, but for the level."""
    flute = [("program_change", 0, {"program": 73}), *key(72, length=960)]
    cello = [
        ("program_change", 0, {"program": 42, "channel": 1}),
        *key(48, length=960, channel=1),
    ]
    made = render_midi(midi(flute, cello), 2)
    parts = [render_midi(midi(track), 2) for track in (flute, cello)]
    shortest = min(len(made), *map(len, parts))
    sounds = np.stack([part[:shortest] for part in parts])
    weights, *_ = np.linalg.lstsq(sounds.T, made[:shortest], rcond=None)
    np.testing.assert_allclose(weights @ sounds, made[:shortest], atol=1e-4)
    assert (weights > 0.1).all()


def test_velocity_volume_and_expression():
    def loudness(*events, velocity=100):
        return read_notes(midi([*events, *key(velocity=velocity)]), 5)[0].loudness

    plain = loudness()
    assert loudness(velocity=50) == pytest.approx(plain * 0.5**1.5)
    assert loudness(control(7, 50)) == pytest.approx(plain / 2)
    assert loudness(control(11, 0)) == 0
    assert loudness(control(11, 0), control(121, 0)) == pytest.approx(plain)
    both = [*key(60, velocity=120), *key(60, delta=960, velocity=30)]
    made = render_midi(midi([("program_change", 0, {"program": 20}), *both]), 5)
    first, second = made[: RATE // 2], made[RATE * 3 // 2 : RATE * 2]
    assert np.abs(second).max() / np.abs(first).max() == pytest.approx(0.25**1.5, rel=0.05)


def test_the_sustain_pedal_holds_notes():
    track = [control(64, 127), *key(60, length=480), *key(64, length=480), control(64, 0, 480)]
    notes = read_notes(midi(track), 9)
    assert times(notes) == [(0, 1.5, 60), (0.5, 1.5, 64)]
    assert times(read_notes(midi(track[1:]), 9)) == [(0, 0.5, 60), (0.5, 1.0, 64)]


def test_note_ends():
    on, off = ({"note": 60, "velocity": v} for v in (90, 0))
    # Velocity 0 ends a note; of two in unison the older ends first; nobody ends the last one.
    track = [("note_on", 0, on), ("note_on", 480, on), ("note_on", 480, off), ("note_on", 0, off)]
    assert times(read_notes(midi(track), 9)) == [(0, 1.0, 60), (0.5, 1.0, 60)]
    assert times(read_notes(midi(track[:3]), 9)) == [(0, 1.0, 60), (0.5, 9, 60)]
    assert times(read_notes(midi([track[0], control(123, 0, 240)]), 9)) == [(0, 0.25, 60)]
    assert times(read_notes(midi([("note_off", 0, {"note": 60}), *key(62)]), 9)) == [(0, 0.5, 62)]


def test_notes_beyond_the_end_are_left_out():
    notes = [event for _ in range(100) for event in key(length=480)]
    assert len(read_notes(midi(notes), 2.0)) == 4


@pytest.mark.parametrize("pitch", [35, 38, 42, 45, 46, 49, 56, 64, 81])
def test_drums_are_bursts(pitch):
    stroke = key(pitch, channel=9, length=1, delta=1439)
    data = midi([*stroke, *stroke])
    assert {note.program for note in read_notes(data, 5)} == {DRUMS}
    made = render_midi(data, 5)
    assert onset_seconds(made, 0) == pytest.approx(1439 / 960, abs=0.005)
    assert np.abs(made[int(2.9 * RATE) : int(2.99 * RATE)]).max() < 0.02
    assert onset_seconds(made, 2.95) == pytest.approx(2879 / 960, abs=0.005)


def test_a_hi_hat_is_brighter_than_a_bass_drum():
    def centre(pitch):
        made = render_midi(midi(key(pitch, channel=9)), 1)
        spectrum = np.abs(np.fft.rfft(made))
        return np.sum(spectrum * np.fft.rfftfreq(len(made), 1 / RATE)) / spectrum.sum()

    assert centre(42) > 3 * centre(36)


def damaged_cases():
    good = midi(key())
    yield "bad_midi", b""
    yield "bad_midi", b"not midi at all, and long enough to be one"
    yield "bad_midi", good[:-8]
    yield "bad_midi", good[:10]
    yield "bad_midi", good[:12] + b"\0\0" + good[14:]
    yield "bad_midi", b"RIFF" + good
    yield "no_notes", midi([])
    yield "no_notes", midi([("set_tempo", 0, {"tempo": 500_000})])
    yield "no_notes", midi(key(delta=480 * 100))
    yield "no_notes", midi([control(7, 0), *key()])


@pytest.mark.parametrize(("kind", "data"), list(damaged_cases()))
def test_damaged_files(kind, data):
    with refused(kind, r"\S$"):
        render_midi(data, 5)


def test_a_missing_and_a_huge_file(tmp_path, monkeypatch):
    with refused("unreadable_file"):
        render_midi(tmp_path / "none.mid", 5)
    monkeypatch.setattr("clamp3.formats.synthesis.notes.MAX_BYTES", 10)
    (tmp_path / "huge.mid").write_bytes(midi(key()))
    with refused("too_large"):
        render_midi(tmp_path / "huge.mid", 5)


def test_any_damage_is_a_format_error():
    data = midi(*[[*key(60 + n), *key(64, delta=100), control(64, 100)] for n in range(3)])
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            broken[at] = rng.integers(256)
        try:
            assert np.isfinite(render_midi(bytes(broken), 1.0)).all()
        except FormatError:
            continue


def test_real_files():
    table = pq.read_table(ROOT / "tests/golden/midi.parquet")
    kinds = []
    for data in table.column("midi").to_pylist():
        try:
            made = render_midi(data, 5)
        except FormatError as error:
            kinds.append(error.kind)
            continue
        assert math.isclose(np.abs(made).max(), 0.9, rel_tol=1e-5)
        assert len(made) <= 5 * RATE
    assert kinds == ["no_notes"] * len(kinds)
    assert len(kinds) < 10
