"""MIDI files to MTF: tracks merged in time, lines."""

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from clamp3.formats.limits import DEFAULT_LIMITS, Limits, read_bytes
from clamp3.formats.mtf.chunks import Forgiven, read_tracks, unwrapped
from clamp3.formats.mtf.events import Event
from clamp3.formats.mtf.meta import END


class Performance(NamedTuple):
    """MTF of a MIDI file, and what was wrong with the file but left no doubt about its music."""

    mtf: str
    warnings: tuple[Forgiven, ...]


def midi_to_mtf(
    source: Path | bytes, *, keep_metadata: bool = False, limits: Limits = DEFAULT_LIMITS
) -> str:
    """MTF of a MIDI file, as `read_midi` reads it, without the warnings."""
    return read_midi(source, keep_metadata=keep_metadata, limits=limits).mtf


def read_midi(
    source: Path | bytes, *, keep_metadata: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Performance:
    """MTF of a MIDI file, given as its path or its bytes, without a final line end.

    Text events (track names, lyrics, markers …) are left out unless `keep_metadata`; published
    models know MTF without them.

    Faults that cost no note and add none are forgiven and told as warnings:
    `wrapped` (a RIFF file around the MIDI file, or up to 256 bytes before it), `foreign_bytes`
    (between tracks, or behind end_of_track in one), `trailing_bytes` (after the last track),
    `missing_tracks` and `extra_tracks` (the header counts others than there are; more than it
    counts are not read), `wrong_track_size` (0 or the largest, for a track that ends where another
    begins). A file that ends within a track is refused, and so is a track that its size cuts.

    Raises FormatError: `unreadable_file`, `too_large`, `empty_file`, `not_midi`, `truncated_midi`,
    `type2_midi` (tracks that do not run together), `bad_track`, `bad_status`, `bad_data_byte`,
    `bad_meta`, `oversized_event`.

    Source: sanderwood/clamp3@9016d2b preprocessing/midi/batch_midi2mtf.py with mido 1.3.
    Reproduced on purpose: the delta time of a left-out text event and that of a meta event of
    unknown type are lost, so what follows moves earlier; published models were trained so.
    Differs: mido stops at all that is forgiven but `trailing_bytes` and `extra_tracks`, and reads
    nothing of a last track whose size is 0.
    """
    warnings: list[Forgiven] = []
    data = unwrapped(read_bytes(source, limits.max_midi_bytes), warnings)
    ticks_per_beat, tracks = read_tracks(data, keep_metadata, warnings)
    events: list[Event] = []
    for track in tracks:
        events += track
    if len(tracks) > 1:
        events.sort(key=itemgetter(0))
    mtf = "\n".join([f"ticks_per_beat {ticks_per_beat}", *_lines(events)])
    return Performance(mtf, tuple(warnings))


def _lines(events: list[Event]) -> Iterator[str]:
    """The lines of events sorted by tick; all ends of tracks become one at the end."""
    now = 0
    for tick, head, tail in events:
        if head is not END:
            if head:
                yield f"{head}{tick - now}{tail}"
            now = tick
    yield f"{END}{events[-1][0] - now if events else 0}"
