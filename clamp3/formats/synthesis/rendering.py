"""From notes to a waveform, by addition."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from clamp3.errors import FormatError
from clamp3.formats.synthesis.notes import DRUMS, Note, read_notes
from clamp3.formats.synthesis.timbres import drum, release, tone

PEAK = 0.9  # of full scale


def render_midi(midi: Path | bytes, seconds: float, sample_rate_hz: int = 24_000) -> np.ndarray:
    """The beginning of a MIDI file as sound: float32 [S], mono, its peak at 0.9.

    S is `seconds`, or less if the last note has died away before. The same file gives the same
    samples each time. General MIDI families differ in spectrum and envelope; there is no vibrato,
    pitch bend, stereo or room.
    Raises FormatError: unreadable_file, too_large, bad_midi, no_notes.
    """
    notes = read_notes(midi, seconds)
    waveform = _mix(notes, round(seconds * sample_rate_hz), sample_rate_hz)
    peak = np.abs(waveform).max(initial=0.0)
    if peak == 0:
        raise FormatError("no_notes", f"nothing sounds in the first {seconds:g} s")
    return waveform * np.float32(PEAK / peak)


def _mix(notes: list[Note], limit: int, rate: int) -> np.ndarray:
    tones = _tones(notes, limit, rate)
    mix = np.zeros(limit, np.float32)
    end = 0
    for note in notes:
        start = round(note.start_seconds * rate)
        sound = _sound(note, tones, rate)[: limit - start]
        mix[start : start + len(sound)] += sound
        end = max(end, start + len(sound))
    return mix[:end]


def _tones(notes: list[Note], limit: int, rate: int) -> dict[tuple[int, int], np.ndarray]:
    """Each key of each program once, as long as its longest note: the notes are cut from it."""
    lengths = defaultdict(int)
    for note in notes:
        if note.program != DRUMS:
            key = note.program, note.pitch
            samples = round((note.end_seconds - note.start_seconds) * rate)
            lengths[key] = max(lengths[key], samples + len(release(note.program, rate)))
    return {key: tone(*key, min(samples, limit), rate) for key, samples in lengths.items()}


def _sound(note: Note, tones: dict[tuple[int, int], np.ndarray], rate: int) -> np.ndarray:
    if note.program == DRUMS:
        return drum(note.pitch, rate) * np.float32(note.loudness)
    fade = release(note.program, rate)
    held = round((note.end_seconds - note.start_seconds) * rate)
    sound = tones[note.program, note.pitch][: held + len(fade)] * np.float32(note.loudness)
    tail = sound[held:]
    tail *= fade[: len(tail)]
    return sound
