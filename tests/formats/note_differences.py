"""How the notes of a MusicXML score differ from those of its ABC, and for what reasons.

tie to another pitch  the score ties a note to one that is no end of a tie and has another
                      alteration; no accidental is printed, so ABC carries the first over, also
                      to the notes that the second is tied to
tie from nowhere      a tied note needs no accidental, but in ABC a tie cannot come from another
                      voice or from a note that has none, so that the key decides
tie drawn             <tied> without <tie>: music21 does not count it
rounded               odd divisions, or <forward>s that are too short to count
padded                a hairpin that ends after the bar is preceded by silence in the next one
silent bar            a rest without <type>: music21 gives it the meter's length, ABC its own
silence at the end    <forward> or hidden notes at the end of a bar, which music21 does not count
unexplained           whatever else differs
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from abc_notes import Bar, Sound, read_abc
from music21_notes import Measure, read_musicxml, sounding_voices

from clamp3.formats.musicxml import musicxml_to_abc

LARGEST_ROUNDING = Fraction(1, 12)  # of a quarter note


class Reading(NamedTuple):
    """A score read in all ways. `voices` numbers, for each part, its (staff, voice) names."""

    abc: str
    parts: list[list[Measure]]
    bars: dict[int, list[Bar]]
    voices: list[dict[tuple[int, str], int]]


def read_score(path: Path) -> Reading:
    abc = musicxml_to_abc(path)
    bars = read_abc(abc)
    numbers = iter(number for number, voice in bars.items() if any(bar.sounds for bar in voice))
    voices = [{name: next(numbers) for name in part} for part in sounding_voices(path)]
    assert list(numbers) == [], "ABC has more sounding voices than the score"
    parts = read_musicxml(path)
    assert {len(voice) for voice in bars.values()} == {len(part) for part in parts}
    return Reading(abc, parts, bars, voices)


def differences(score: Reading) -> Counter[str]:
    """Why notes and bars differ, and how often."""
    found = Counter()
    for measures, voices in zip(score.parts, score.voices, strict=True):
        columns = {name: score.bars[number] for name, number in voices.items()}
        for index, measure in enumerate(measures):
            row = {name: column[index] for name, column in columns.items()}
            found += bar_differences(measure, row)
    return found


def bar_differences(measure: Measure, row: dict[tuple[int, str], Bar]) -> Counter[str]:
    found = note_differences(measure, list(row.values()))
    if not found:
        found["unexplained"] += sum(
            not fits(name, Counter(sounds), row) for name, sounds in measure.sounds.items()
        )
    return +(found + length_differences(measure, row, padded=bool(found["padded"])))


def note_differences(measure: Measure, row: Sequence[Bar]) -> Counter[str]:
    written = Counter(sound for sounds in measure.sounds.values() for sound in sounds)
    read = Counter(sound for bar in row for sound in bar.sounds)
    plain = {sound: other for bar in row for sound, other in bar.plain.items()}
    return +explained(written - read, read - written, measure.stops, plain)


def without_ties(measure: Measure) -> Measure:
    """The measure as music21's ABC reader would give it, without grace notes and signs of ties."""
    sounds = {
        name: [sound._replace(tied=False) for sound in voice if sound.quarters]
        for name, voice in measure.sounds.items()
    }
    stops = {sound._replace(tied=False) for sound in measure.stops}
    return measure._replace(sounds=sounds, stops=stops)


def fits(name: tuple[int, str | None], sounds: Counter, row: dict[tuple[int, str], Bar]) -> bool:
    """Whether the sounds of one voice are in the ABC voice of that name, or in one if unnamed."""
    staff, voice = name
    named = [bar for place, bar in row.items() if place in ((0, voice), (staff, voice))]
    return not sounds or any(sounds <= Counter(bar.sounds) for bar in named or row.values())


def explained(
    missing: Counter[Sound], added: Counter[Sound], stops: set[Sound], plain: dict[Sound, Sound]
) -> Counter[str]:
    """The reasons for which sounds of the MusicXML are missing and others added."""
    if shifted(missing, added):
        return Counter({"padded": 1})
    found = Counter()
    for old in sorted(missing.elements()):
        reason, new = next(
            ((reason, new) for new in sorted(added) if (reason := why(old, new, stops, plain))),
            ("unexplained", None),
        )
        found[reason] += 1
        if new is not None:
            added = added - Counter([new])
    found["unexplained"] += added.total()
    return found


def why(old: Sound, new: Sound, stops: set[Sound], plain: dict[Sound, Sound]) -> str:
    """The reason for which the MusicXML's `old` is read as `new` in ABC; empty if it is another."""
    if plain.get(new) == old:
        return "tie to another pitch"
    if new._replace(alter=old.alter) == old and old in stops:
        return "tie from nowhere"
    if new == old._replace(tied=True):
        return "tie drawn"
    apart = max(abs(old.onset - new.onset), abs(old.quarters - new.quarters))
    near = apart <= LARGEST_ROUNDING
    return "rounded" if near and old[2:] == new[2:] else ""


def shifted(missing: Counter[Sound], added: Counter[Sound]) -> bool:
    """Whether the sounds only come later, all by the same time."""
    if not missing or not added:
        return False
    delay = min(added).onset - min(missing).onset
    later = Counter(sound._replace(onset=sound.onset + delay) for sound in missing.elements())
    return delay > 0 and later == added


def length_differences(
    measure: Measure, row: dict[tuple[int, str], Bar], padded: bool
) -> Counter[str]:
    lengths = [bar.quarters for bar in row.values()]
    heads = [sound for bar in row.values() for sound in bar.sounds]
    end = max((sound.onset + sound.quarters for sound in heads), default=0)
    if padded or not lengths or set(lengths) == {measure.quarters}:
        return Counter()
    if len(set(lengths)) > 1 or lengths[0] < end:
        near = max(*lengths, end, measure.quarters) - min(lengths) <= LARGEST_ROUNDING
        return Counter({"rounded" if near else "unexplained": 1})
    return Counter({"silence at the end" if heads else "silent bar": 1})
