"""The chunks of a MIDI file: its header and its tracks, and which faults of theirs are forgiven.

Where mido reads a file, the tracks are those that mido reads, but for a last one of size 0.
"""

from typing import NamedTuple

from clamp3.errors import FormatError
from clamp3.formats.mtf.events import Event, read_events
from clamp3.formats.mtf.meta import END

_HEADER = b"MThd"
_TRACK = b"MTrk"
_CHUNK_HEADER_BYTES = 8
_MOST_LEADING_BYTES = 256
# What programs leave in the size of a track that they never come back to.
_NO_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)


class Forgiven(NamedTuple):
    """A fault of a file that was read all the same; `kind` is a short, stable name."""

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def unwrapped(data: bytes, warnings: list[Forgiven]) -> bytes:
    """The MIDI file inside a RIFF file or after a few other bytes; adds to `warnings`.

    Raises FormatError: `empty_file`, `not_midi`.
    """
    if not data:
        raise FormatError("empty_file", "the MIDI file is empty")
    if data.startswith(_HEADER):
        return data
    riff = data.startswith(b"RIFF")
    start = data.find(b"MThd\0\0\0\6", 0, None if riff else _MOST_LEADING_BYTES)
    if start < 0:
        inside = " nor inside the RIFF file" if riff else ""
        raise FormatError("not_midi", f"found {data[:4]!r}, expected b'MThd' at the start{inside}")
    what = "in a RIFF file" if riff else "behind other bytes"
    warnings.append(Forgiven("wrapped", f"the MIDI file begins at byte {start}, {what}"))
    return data[start:]


def read_tracks(
    data: bytes, keep_metadata: bool, warnings: list[Forgiven]
) -> tuple[int, list[list[Event]]]:
    """Ticks per beat and the events of each track, of a file that starts with its header.

    Adds to `warnings` what was forgiven. Raises FormatError.
    """
    ticks_per_beat, track_count, position = _read_header(data)
    tracks: list[list[Event]] = []
    for number in range(1, track_count + 1):
        start = _track_start(data, position, number, warnings)
        if start is None:
            told = f"the header counts {track_count} tracks, the file has {number - 1}"
            warnings.append(Forgiven("missing_tracks", told))
            break
        track = _Track(data, start, number, keep_metadata)
        events, position = track.read(warnings, last=number == track_count)
        tracks.append(events)
    _warn_of_rest(data[position:], warnings)
    return ticks_per_beat, tracks


def _read_header(data: bytes) -> tuple[int, int, int]:
    """Ticks per beat, number of tracks, position of the first track."""
    size = int.from_bytes(data[4:8], "big")
    header = data[8 : 8 + size]
    if len(data) < 8 or len(header) < 6:
        raise FormatError("truncated_midi", f"the header needs 14 bytes, the file has {len(data)}")
    kind, track_count, ticks_per_beat = (
        int.from_bytes(header[i : i + 2], "big", signed=True) for i in (0, 2, 4)
    )
    if kind == 2:
        raise FormatError("type2_midi", "type 2: independent patterns cannot be merged in time")
    return ticks_per_beat, track_count, 8 + size


def _track_start(data: bytes, position: int, number: int, warnings: list[Forgiven]) -> int | None:
    """Where the events of the next track start; None where no track follows."""
    found = position if _at_track(data, position) else _behind_chunk(data, position)
    # Stray bytes right behind the header show that it lost some, and its numbers mean nothing.
    if found < 0 and number > 1:
        found = data.find(_TRACK, position)
    start = found + _CHUNK_HEADER_BYTES
    rest = data[position : position + 4]
    if start > len(data) or (found < 0 and _TRACK.startswith(rest) and (rest or number == 1)):
        raise FormatError("truncated_midi", f"the file ends before track {number}")
    if found < 0 and number == 1:
        found_text = f"byte {position}: found {rest!r}"
        raise FormatError("bad_track", f"{found_text}, expected b'MTrk' of track 1")
    if found > position:
        told = f"{found - position} bytes before track {number} belong to no track"
        warnings.append(Forgiven("foreign_bytes", told))
    return start if found >= 0 else None


def _at_track(data: bytes, position: int) -> bool:
    return data.startswith(_TRACK, position)


def _behind_chunk(data: bytes, position: int) -> int:
    """Where the track behind a chunk of another name begins; -1 where none does."""
    after = position + _CHUNK_HEADER_BYTES
    after += int.from_bytes(data[after - 4 : after], "big")
    return after if _at_track(data, after) else -1


class _Track:
    """A track whose events start at `start`, by its size or by its end_of_track."""

    def __init__(self, data: bytes, start: int, number: int, keep_metadata: bool):
        self.data = data
        self.start = start
        self.end = start + int.from_bytes(data[start - 4 : start], "big")
        self.number = number
        self.keep_metadata = keep_metadata

    def read(self, warnings: list[Forgiven], *, last: bool) -> tuple[list[Event], int]:
        """The events, and where the file goes on.

        The size decides, as in mido. Where it says nothing, or what it holds behind end_of_track
        is no music, end_of_track does. Any other size shows that bytes were lost.
        """
        unsized = last and self.end == self.start  # empty, or a placeholder
        try:
            events, end = read_events(self.data, self.start, self.end, self.keep_metadata)
            ended = bool(events) and events[-1][1] is END
            if (last and not unsized) or ended or self._is_border(end):
                return events, end
            fault = FormatError(
                "bad_track", f"byte {end}: track {self.number} has no end, and none follows"
            )
        except IndexError:
            fault = FormatError(
                "truncated_midi", f"track {self.number}: the file ends in the middle of its events"
            )
        except FormatError as error:
            fault = error
        whole = self._up_to_its_end(warnings)
        if whole is None and not unsized:
            raise fault
        return whole or ([], self.end)

    def _up_to_its_end(self, warnings: list[Forgiven]) -> tuple[list[Event], int] | None:
        """The events up to the first end_of_track; None where the track may not be whole."""
        try:
            events, end = read_events(self.data, self.start, None, self.keep_metadata)
        except (IndexError, FormatError):
            return None
        if _TRACK in self.data[self.start : end]:
            return None  # what looks like events is another track
        if end < self.end and self._is_border(self.end):
            told = f"{self.end - end} bytes behind the end of track {self.number}"
            warnings.append(Forgiven("foreign_bytes", told))
            return events, self.end
        if self.end - self.start in _NO_SIZES and self._is_border(end):
            told = (
                f"track {self.number} has the size {self.end - self.start}, not {end - self.start}"
            )
            warnings.append(Forgiven("wrong_track_size", told))
            return events, end
        return None

    def _is_border(self, position: int) -> bool:
        return position == len(self.data) or _at_track(self.data, position)


def _warn_of_rest(rest: bytes, warnings: list[Forgiven]) -> None:
    if _TRACK in rest:
        told = "there are more tracks than the header counts; they are not read"
        warnings.append(Forgiven("extra_tracks", told))
    elif rest and not any(warning.kind == "wrapped" for warning in warnings):
        told = f"{len(rest)} bytes after the last track"
        warnings.append(Forgiven("trailing_bytes", told))
