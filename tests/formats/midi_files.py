"""Small MIDI files for the tests, and what pitch a rendering has."""

import io

import mido
import numpy as np
from formats.sounds import RATE


def message(kind, time=0, **values):
    if kind in mido.midifiles.meta._META_SPEC_BY_TYPE:
        return mido.MetaMessage(kind, time=time, **values)
    return mido.Message(kind, time=time, **values)


def midi(*tracks, ticks=480, kind=1):
    """A MIDI file of tracks of (type, delta in ticks, values)."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for track in tracks:
        file.tracks.append(mido.MidiTrack(message(name, time, **v) for name, time, v in track))
    stream = io.BytesIO()
    file.save(file=stream)
    return stream.getvalue()


def key(pitch=69, delta=0, length=480, velocity=90, channel=0):
    return [
        ("note_on", delta, {"note": pitch, "velocity": velocity, "channel": channel}),
        ("note_off", length, {"note": pitch, "channel": channel}),
    ]


def control(number, value, delta=0):
    return ("control_change", delta, {"control": number, "value": value})


def loudest_hz(waveform):
    padded = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 2**19))
    return np.argmax(padded) * RATE / 2**19
