"""MIDI files to MTF, the lossless text form in which performances reach the models, and back.

MTF names the ticks per beat on its first line and then has one line per event of all tracks merged
in time, its fields parted by single spaces:

    ticks_per_beat 480
    time_signature 6 8 24 8 0
    note_on 0 3 60 64          (type, ticks since the event before, channel, key, velocity)
    end_of_track 480

The reader repeats the rules of the library mido, which defines the format, without its cost, and
forgives a few faults of files beyond it.
"""

from clamp3.formats.mtf.chunks import Forgiven
from clamp3.formats.mtf.meta import TEXT_TYPES
from clamp3.formats.mtf.reading import Performance, midi_to_mtf, read_midi
from clamp3.formats.mtf.writing import mtf_to_midi

__all__ = ["TEXT_TYPES", "Forgiven", "Performance", "midi_to_mtf", "mtf_to_midi", "read_midi"]
