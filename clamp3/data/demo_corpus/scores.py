"""A source as a music21 score that is known to be sound, and what it says about itself."""

import zipfile
from dataclasses import dataclass
from fractions import Fraction

import music21
from music21.key import Key
from music21.meter import TimeSignature
from music21.stream import Measure, Part, Score

from clamp3.data.demo_corpus.music21_corpus import Source
from clamp3.errors import FormatError

_MODES = {"major", "minor", "dorian", "mixolydian"}
_LARGEST_BARS = 120  # music21's export takes more than twice as long for twice the bars
_SMALLEST_BARS = 6


@dataclass(frozen=True)
class Note:
    """A sounding note, tied ones joined; onset and end in quarter notes from the beginning."""

    onset: Fraction
    end: Fraction
    pitch: int
    begins_bar: bool


@dataclass(frozen=True)
class ReadScore:
    """A checked score; `voices` are the notes of each part, by onset."""

    score: Score
    tonic: str  # "Bb"
    mode: str
    fifths: int  # sharps, or flats as a negative number
    meter: str  # "6/8"
    bar_quarters: Fraction
    bars: int  # as many full bars as the music is long
    voices: tuple[tuple[Note, ...], ...]


def read_score(source: Source) -> ReadScore:
    """The score of a source, without the titles and instruments of its file.

    Raises FormatError where it holds anything that would make a short text about it untrue: a
    change of key or metre, bars that do not add up, more or fewer voices than its kind has.
    """
    score = _parse(source)
    parts = list(score.parts)
    expected = 4 if source.kind == "chorale" else 1
    if len(parts) != expected:
        raise FormatError("voices", f"{source.key}: {len(parts)} parts, expected {expected}")
    key = _only_key(parts, source.key)
    time = _only_meter(parts, source.key)
    bar = Fraction(time.barDuration.quarterLength)
    bars = _count_bars(parts, bar, source.key)
    voices = tuple(_sounding_notes(part) for part in parts)
    _check_voices(source, key, voices)
    return ReadScore(
        score=score,
        tonic=key.tonic.name.replace("-", "b"),
        mode=key.mode,
        fifths=key.sharps,
        meter=time.ratioString,
        bar_quarters=bar,
        bars=bars,
        voices=voices,
    )


def _parse(source: Source) -> Score:
    if source.abc is not None:
        return music21.converter.parseData(source.abc, format="abc")
    with zipfile.ZipFile(source.path) as archive:
        name = next(name for name in archive.namelist() if not name.startswith("META-INF/"))
        text = archive.read(name).decode("utf-8")
    return music21.converter.parseData(text, format="musicxml")


def _elements(parts: list[Part], kind: type) -> list:
    return [element for part in parts for element in part.recurse().getElementsByClass(kind)]


def _only_key(parts: list[Part], where: str) -> Key:
    """The key of the first part, which all others are given too.

    The chorales' files tell the mode in the first part only: "major" stands in all others.
    """
    signatures = _elements(parts, music21.key.KeySignature)
    if len({signature.sharps for signature in signatures}) != 1:
        raise FormatError("key", f"{where}: key signature is missing or changes")
    keys = {str(key): key for key in _elements(parts[:1], Key)}
    key = next(iter(keys.values()), None)
    if len(keys) != 1 or key.mode not in _MODES:
        raise FormatError("key", f"{where}: found {list(keys)}, expected one key of a usual mode")
    for signature in signatures:
        signature.activeSite.replace(signature, Key(key.tonic, key.mode))
    return key


def _only_meter(parts: list[Part], where: str) -> TimeSignature:
    found = _elements(parts, TimeSignature)
    if len({time.ratioString for time in found}) != 1:
        raise FormatError("meter", f"{where}: metre is missing or changes")
    return found[0]


def _count_bars(parts: list[Part], bar: Fraction, where: str) -> int:
    """How many full bars there are; upbeats and repeats may split some."""
    for part in parts:
        lengths = [measure.duration.quarterLength for measure in part.getElementsByClass(Measure)]
        full = sum(length == bar for length in lengths)
        if any(length > bar for length in lengths) or 2 * full < len(lengths):
            raise FormatError("bars", f"{where}: bars do not add up to their time signature")
        if not _SMALLEST_BARS <= full <= _LARGEST_BARS:
            raise FormatError("length", f"{where}: {full} full bars")
    return round(Fraction(parts[0].duration.quarterLength) / bar)


def _sounding_notes(part: Part) -> tuple[Note, ...]:
    """All notes but grace notes."""
    bars = {Fraction(measure.offset) for measure in part.getElementsByClass(Measure)}
    notes: list[Note] = []
    open_ties: dict[int, int] = {}
    for element in part.flatten().notes:
        for note in element.notes if element.isChord else [element]:
            onset = Fraction(element.offset)
            end = onset + Fraction(element.quarterLength)
            if end == onset:
                continue
            pitch = note.pitch.midi
            tied = note.tie is not None and note.tie.type in {"stop", "continue"}
            if tied and pitch in open_ties:
                first = notes[open_ties[pitch]]
                notes[open_ties[pitch]] = Note(first.onset, end, pitch, first.begins_bar)
            else:
                open_ties[pitch] = len(notes)
                notes.append(Note(onset, end, pitch, onset in bars))
    return tuple(notes)


def _check_voices(source: Source, key: Key, voices: tuple[tuple[Note, ...], ...]) -> None:
    if any(map(_overlaps, voices)):
        raise FormatError("overlap", f"{source.key}: a note begins while it sounds in its part")
    if source.kind == "chorale" and voices[-1][-1].pitch % 12 != key.tonic.pitchClass:
        raise FormatError("key", f"{source.key}: does not end on the tonic of its key")


def _overlaps(notes: tuple[Note, ...]) -> bool:
    """Whether a pitch begins while it sounds: MIDI could not tell the two notes apart."""
    ends: dict[int, Fraction] = {}
    for note in sorted(notes, key=lambda note: note.onset):
        if note.onset < ends.get(note.pitch, 0):
            return True
        ends[note.pitch] = note.end
    return False
