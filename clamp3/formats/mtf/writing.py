"""MTF to MIDI files."""

import io
import re
import struct

from clamp3.errors import FormatError


def mtf_to_midi(text: str) -> bytes:
    """A MIDI file with one track (type 1) from MTF.

    Also takes MTF as patches hold it, with several events of one type on a line, parted by tabs.

    Raises FormatError: `not_mtf` (no `ticks_per_beat` on the first line), `bad_event` (with its
    line number), `bad_midi` (what MIDI cannot hold, such as a negative delta time).

    Source: sanderwood/clamp3@9016d2b preprocessing/midi/batch_mtf2midi.py.
    Differs: empty sysex events are read, where the original stops. Meta events of unknown type
    are kept and their delta time goes to the next event, where the original drops both.
    """
    # Here, because mido is slow to import and reading MIDI does without.
    import mido

    from clamp3.formats.mtf.messages import read_messages

    first, *lines = text.removeprefix("\ufeff").splitlines() or [""]
    heading = re.fullmatch(r"ticks_per_beat (-?\d{1,5})\s*", first)
    if not heading:
        raise FormatError(
            "not_mtf", f"the first line is {first[:40]!r}; expected 'ticks_per_beat' and a number"
        )
    buffer = io.BytesIO()
    try:
        track = mido.MidiTrack(read_messages(lines))
        mido.MidiFile(ticks_per_beat=int(heading[1]), tracks=[track]).save(file=buffer)
    except FormatError:
        raise
    except (ValueError, TypeError, struct.error) as error:
        raise FormatError("bad_midi", f"this MTF does not fit into a MIDI file: {error}") from error
    return buffer.getvalue()
