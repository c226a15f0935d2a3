"""The notes that music21 reads from a MusicXML file and from single voices of ABC."""

import re
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from abc_notes import KEY, TOKEN, Bar, Sound, Tune, clef_octaves
from music21 import converter, harmony, note, stream

# music21 gives fractions of small denominators and, before grace notes, floats.
_DENOMINATOR = 9999


class Measure(NamedTuple):
    """One measure of a part.

    sounds    by (staff, voice); the voice is None where music21 found only one on that staff
    quarters  the time until the end of the last note or rest
    stops     the sounds on which a tie ends
    """

    sounds: dict[tuple[int, str | None], list[Sound]]
    quarters: Fraction
    stops: set[Sound]


def read_musicxml(path: Path) -> list[list[Measure]]:
    """The measures of each part as music21 reads them; the staves of a part are put together."""
    staves = defaultdict(list)
    for part in converter.parse(path, forceSource=True).parts:
        name = str(part.id).partition("-Staff")[0] if isinstance(part, stream.PartStaff) else part
        staves[name].append(part.getElementsByClass(stream.Measure))
    return [[_measure(row) for row in zip(*part, strict=True)] for part in staves.values()]


def sounding_voices(path: Path) -> list[list[tuple[int, str]]]:
    """For each part (staff, voice) of those with notes, in the order in which ABC numbers them.

    The staff is 0 unless voices are counted anew on each staff, as Sibelius does.
    """
    packed = path.suffix == ".mxl"
    text = converter.ArchiveManager(path).getData() if packed else path.read_bytes()
    root = ElementTree.fromstring(text)
    software = [element.text or "" for element in root.iterfind("identification/encoding/software")]
    per_staff = any(name.startswith("Sibelius") for name in software)
    return [_part_voices(part, per_staff) for part in root.iterfind("part")]


def _part_voices(part: ElementTree.Element, per_staff: bool) -> list[tuple[int, str]]:
    sounding = {}
    for element in part.iter("note"):
        voice = (element.findtext("voice") or "").strip() or "1"
        place = int(element.findtext("staff") or 1) if per_staff else 0, voice
        shown = element.find("rest") is None and element.get("print-object") != "no"
        sounding[place] = sounding.get(place, False) or shown
    places = [place for place, sounds in sounding.items() if sounds]
    return sorted(places, key=lambda place: (place[0], int(place[1]))) if per_staff else places


def _measure(row: tuple[stream.Measure, ...]) -> Measure:
    sounds, stops = {}, set()
    for staff, measure in enumerate(row, start=1):
        for voice in [measure, *measure.voices]:
            name = None if voice is measure else str(voice.id)
            heads = list(_heads(voice.notes))
            sounds[staff, name] = [sound for sound, _ in heads]
            stops |= {sound for sound, stop in heads if stop}
    return Measure(sounds, _fraction(max(measure.highestTime for measure in row)), stops)


def _heads(elements) -> Iterator[tuple[Sound, bool]]:
    """The shown note heads and whether a tie ends there; no chord symbols."""
    for element in elements:
        if isinstance(element, harmony.Harmony) or element.style.hideObjectOnPrint:
            continue
        for head in getattr(element, "notes", (element,)):
            if not head.style.hideObjectOnPrint:
                tie = head.tie.type if head.tie is not None else ""
                sound = _sound(element, head, tie in ("start", "continue"))
                yield sound, tie in ("stop", "continue")


def _sound(element, head, tied: bool) -> Sound:
    if isinstance(head, note.Unpitched):
        step, octave, alter = head.displayStep, head.displayOctave, Fraction(0)
    else:
        step, octave, alter = head.pitch.step, head.pitch.octave, Fraction(head.pitch.alter)
    return Sound(
        _fraction(element.offset), _fraction(element.quarterLength), step, octave, alter, tied
    )


def _fraction(number) -> Fraction:
    return Fraction(number).limit_denominator(_DENOMINATOR)


class UnsupportedError(Exception):
    """music21's ABC reader cannot read this voice; the text is the reason."""


def read_voice(tune: Tune, number: int) -> list[Bar]:
    """The bars of one voice, read by music21's ABC reader from a tune with that voice alone.

    What is no note, and grace notes, which music21 drops, is taken out; all bar lines become
    `|`, because music21 takes endings for notes; keys become lines, because it ignores inline
    ones; there is no meter, because it breaks bars that are longer. music21 knows neither octave
    clefs nor that a tied note keeps its accidental, so both are done here.
    Raises UnsupportedError.
    """
    if number in tune.drums:
        raise UnsupportedError("percussion")
    keys = [line for line in tune.header if line.startswith("K:")]
    music = _music_alone(tune.bodies[number])
    head = "%abc-2.1\nX:1\n%%propagate-accidentals octave\nL:1/8\nM:none\n"
    score = converter.parse(f"{head}{keys[-1]}\n{music}\n", format="abc", forceSource=True)
    octaves = clef_octaves(tune.definitions[number])
    bars, ties = [], {}
    [part] = score.parts
    for measure in list(part.getElementsByClass(stream.Measure)) or [part]:
        bar = Bar([], _fraction(measure.highestTime), {})
        for element in measure.notes:
            ties = _take(element, octaves, ties, bar)
        bars.append(bar)
    return bars


def _take(element, octaves: int, ties: dict, bar: Bar) -> dict:
    """Add an element's heads to the bar; the ties that begin there."""
    begun = {}
    for sound, _ in _heads([element]):
        plain = sound._replace(octave=sound.octave + octaves, tied=False)
        place = plain.step, plain.octave
        sound = plain._replace(alter=ties.get(place, plain.alter))
        bar.sounds.append(sound)
        if sound != plain:
            bar.plain[sound] = plain
        if element.tie is not None and element.tie.type in ("start", "continue"):
            begun[place] = sound.alter
    return begun


def _music_alone(body: str) -> str:
    kept, position, in_grace, in_tuplet = [], 0, False, 0
    while position < len(body):
        token = TOKEN.match(body, position)
        before, position = body[:position], token.end()
        if token["grace"]:
            in_grace = token["grace"] != "}"
        elif not in_grace:
            kept.append(_kept(token, opening=not before.strip()))
            if token["p"] and in_tuplet > 0:
                raise UnsupportedError("tuplet in a tuplet")
            in_tuplet -= bool(token["group"])
            in_tuplet = int(token["r"] or token["p"]) if token["p"] else in_tuplet
    return "".join(kept)


def _kept(token: re.Match, opening: bool) -> str:
    if token["bar"]:
        return "" if opening else "|"
    if token["p"] or token[0].isspace():
        return token[0]
    if token["field"] == "K":
        if "8" in token["value"]:
            raise UnsupportedError("change to an octave clef")
        return f"\nK:{token['value']}\n" if KEY.match(token["value"].strip()) else ""
    if not token["group"]:
        return ""
    group = re.sub("![^!]*!", "", token["group"])
    if group[0] == "[" and re.search(r"[\^_=]", group):
        raise UnsupportedError("accidental in a chord")
    if group[0] == "[" and "-" in group:
        raise UnsupportedError("tie of single notes in a chord")
    return group.replace("x", "z") + token["length"] + token["tie"] + token["link"]
