"""MusicXML and MIDI files whose bytes depend on the music alone."""

import io
import re
import zipfile

import mido
from music21.instrument import Instrument
from music21.metadata import Metadata
from music21.musicxml.m21ToXml import GeneralObjectExporter

from clamp3.data.demo_corpus.scores import Note, ReadScore
from clamp3.data.instruments import PROGRAM_NAMES

_TICKS_PER_QUARTER = 480
_LOUD, _PLAIN = 92, 76  # velocities at the beginning of a bar and elsewhere
_MAJOR_KEYS = "Cb Gb Db Ab Eb Bb F C G D A E B F# C#"  # from 7 flats to 7 sharps
_VOICE_NAMES = ("Soprano", "Alto", "Tenor", "Bass")
_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles>'
    '<rootfile full-path="score.xml" media-type="application/vnd.recordare.musicxml+xml"/>'
    "</rootfiles></container>\n"
)


def musicxml(
    read: ReadScore, programs: tuple[int, ...], *, title: str, composer: str | None
) -> bytes:
    """A compressed MusicXML file (.mxl) with these instruments, title and composer.

    Changes the score that it writes.
    """
    score = read.score
    score.metadata = Metadata(title=title, composer=composer)
    for number, (part, program) in enumerate(zip(score.parts, programs, strict=True)):
        for old in list(part.recurse().getElementsByClass(Instrument)):
            part.remove(old, recurse=True)
        name = _VOICE_NAMES[number] if len(programs) > 1 else PROGRAM_NAMES[program]
        part.insert(0, _instrument(number, name, program))
    # Left to the exporter, bars cut by a repeat would be filled with rests that nobody plays.
    score.makeNotation(inPlace=True)
    exporter = GeneralObjectExporter(score)
    exporter.makeNotation = False
    text = exporter.parse().decode("utf-8")
    # music21 puts the day of the export, the title twice and, where there is no composer, itself.
    text = re.sub(r"\s*<encoding-date>.*?</encoding-date>", "", text)
    text = re.sub(r"\s*<creator [^>]*>Music21</creator>", "", text)
    text = re.sub(r"\s*<movement-title>.*?</movement-title>", "", text)
    return _zip({"META-INF/container.xml": _CONTAINER, "score.xml": text})


def _instrument(number: int, name: str, program: int) -> Instrument:
    instrument = Instrument(PROGRAM_NAMES[program])
    instrument.partName = name
    instrument.midiProgram = program
    instrument.midiChannel = number
    instrument.partId = f"P{number + 1}"  # else random
    instrument.instrumentId = f"P{number + 1}-I1"
    return instrument


def _zip(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return buffer.getvalue()


def midi(read: ReadScore, programs: tuple[int, ...], tempo: int) -> bytes:
    """A MIDI file that plays the score once through: a track of tempo, metre and key, then one
    track a part; `tempo` in quarter notes a minute.

    Differs: written with mido, not by music21, whose export fails on some repeats.
    """
    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS_PER_QUARTER)
    beats, unit = map(int, read.meter.split("/"))
    file.tracks.append(
        mido.MidiTrack(
            [
                mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)),
                mido.MetaMessage("time_signature", numerator=beats, denominator=unit),
                mido.MetaMessage("key_signature", key=_MAJOR_KEYS.split()[read.fifths + 7]),
                mido.MetaMessage("end_of_track"),
            ]
        )
    )
    for channel, (notes, program) in enumerate(zip(read.voices, programs, strict=True)):
        file.tracks.append(_track(notes, channel, program))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _track(notes: tuple[Note, ...], channel: int, program: int) -> mido.MidiTrack:
    events = []  # (tick, off before on, pitch, velocity)
    for note in notes:
        velocity = _LOUD if note.begins_bar else _PLAIN
        events.append((round(note.onset * _TICKS_PER_QUARTER), 1, note.pitch, velocity))
        events.append((round(note.end * _TICKS_PER_QUARTER), 0, note.pitch, 0))
    track = mido.MidiTrack(
        [
            mido.MetaMessage("track_name", name=PROGRAM_NAMES[program]),
            mido.Message("program_change", channel=channel, program=program),
        ]
    )
    now = 0
    for tick, sounds, pitch, velocity in sorted(events):
        track.append(
            mido.Message(
                "note_on" if sounds else "note_off",
                channel=channel,
                note=pitch,
                velocity=velocity,
                time=tick - now,
            )
        )
        now = tick
    track.append(mido.MetaMessage("end_of_track"))
    return track
