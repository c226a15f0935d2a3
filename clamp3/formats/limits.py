"""How large a score or performance may be before it is refused unread."""

from dataclasses import dataclass
from pathlib import Path

from clamp3.errors import FormatError


@dataclass(frozen=True)
class Limits:
    """What one file may hold at most; more is refused as `too_large`.

    Real files stay far below: a string quartet of 45 minutes has 420,000 tags and 58,000 voice
    events. What comes near a limit takes some 10 s and 1 GB.

    max_document_bytes     a MusicXML document, out of its archive
    max_compression_ratio  of an archive's member to what it unpacks to
    max_tags               tags and attributes of a MusicXML document (signs `<` and `=`)
    max_voice_events       notes, directions, bars … of each part times its voices, summed
    max_midi_bytes         a MIDI file
    max_abc_characters     ABC text
    """

    max_document_bytes: int = 128 * 2**20
    max_compression_ratio: int = 300
    max_tags: int = 4_000_000
    max_voice_events: int = 10_000_000
    max_midi_bytes: int = 8 * 2**20
    max_abc_characters: int = 8_000_000


DEFAULT_LIMITS = Limits()


def read_bytes(source: Path | bytes, most: int) -> bytes:
    """The bytes of a file, or those given. Raises FormatError: unreadable_file, too_large."""
    path = None if isinstance(source, bytes) else Path(source)
    try:
        size = path.stat().st_size if path else len(source)
        if size > most:
            raise FormatError("too_large", f"a file of {size} bytes; expected at most {most}")
        return path.read_bytes() if path else source
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error}") from error
