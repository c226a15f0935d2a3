"""A small collection of tunes with scores, MIDI and sound, and an index of it."""

import io
import json
from pathlib import Path

import numpy as np
import soundfile
from formats.midi_files import key, midi

from clamp3.files import write_jsonl
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.vectors import Vectors, write_vectors

PIECES = 14
HOSTILE = '<img src=x onerror="document.body.dataset.broken=1"> & <b>Co</b>'
GENRES = ("reel", "jig", "air")
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def name_of(number: int) -> str:
    """Ids as files have them: folders, blanks, letters beyond ASCII."""
    return f"tunes/Nº {number:02d} für Flöte"


def title_of(number: int) -> str:
    return HOSTILE if number == 3 else f"Tune {number}"


def pitches_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).choice(SCALE, 64)


def abc_of(number: int) -> str:
    """Sixteen bars; the hostile one has markup wherever there can be text."""
    letters = dict(zip(SCALE, "CDEFGABc", strict=True))
    notes = [f"{letters[pitch]}2" for pitch in pitches_of(number)]
    bars = ["".join(notes[at : at + 4]) for at in range(0, 64, 4)]
    text = f'"^{HOSTILE.replace(chr(34), chr(39))}"' if number == 3 else ""
    lines = [" | ".join(bars[at : at + 4]) + " |" for at in range(0, 16, 4)]
    head = f"X:1\nT:{title_of(number)}\nC:{title_of(number)}\nL:1/8\nM:4/4\nK:C\n"
    return head + 'V:1 treble nm="Flute"\nV:1\n' + text + "\n".join(lines) + "\n"


def midi_of(number: int) -> bytes:
    """Two voices and a drum."""
    tune = [event for pitch in pitches_of(number) for event in key(int(pitch), length=240)]
    bass = [event for _ in range(8) for event in key(40, length=960, channel=1)]
    drum = [event for _ in range(8) for event in key(38, length=960, channel=9)]
    program = [("program_change", 0, {"program": 40, "channel": 1})]
    tempo = [("set_tempo", 0, {"tempo": 500_000})]
    return midi(tempo + tune, program + bass, drum)


def wav_of(number: int, seconds: float = 2.0) -> bytes:
    at = np.arange(int(seconds * 16_000)) / 16_000
    tones = [np.sin(2 * np.pi * 220 * 2 ** (pitch / 12) * at) for pitch in pitches_of(number)[:3]]
    stream = io.BytesIO()
    sound = 0.2 * sum(tones) * np.exp(-at)
    soundfile.write(stream, sound, 16_000, format="WAV")
    return stream.getvalue()


def build_collection(folder: Path, model: Embedder) -> Path:
    """The folder of an index of `PIECES` tunes; all have scores, MIDI and sound to play."""
    files = folder / "files"
    files.mkdir()
    pieces, known = [], []
    for number in range(PIECES):
        (files / f"{number}.mid").write_bytes(midi_of(number))
        (files / f"{number}.wav").write_bytes(wav_of(number))
        played = {"midi": f"files/{number}.mid", "audio": f"files/{number}.wav"}
        shown = {"id": name_of(number), "title": title_of(number), "abc": abc_of(number)}
        pieces.append(shown | played)
        year = str(1800 + 10 * number)
        background = f"{title_of(number)} is a tune that was made for this test and no other one."
        known.append(
            {"id": name_of(number), "genre": GENRES[number % 3], "year": year}
            | {"background": background}
        )
    write_jsonl(folder / "pieces.jsonl", pieces)
    write_jsonl(folder / "known.jsonl", known)
    tables = [_table(folder, model, modality) for modality in ("abc", "mtf", "audio")]
    index = folder / "index"
    build_index(
        index,
        tables,
        metadata=[folder / "known.jsonl"],
        files=[files],
        pieces=folder / "pieces.jsonl",
    )
    return index


def _table(folder: Path, model: Embedder, modality: str) -> Path:
    kinds = {
        "abc": lambda number: model.embed(score=abc_of(number)),
        "mtf": lambda number: model.embed(performance=midi_of(number)),
        "audio": lambda number: model.embed(recording=wav_of(number)),
    }
    matrix = np.stack([kinds[modality](number) for number in range(PIECES)])
    path = folder / f"{modality}.parquet"
    names = [name_of(number) for number in range(PIECES)]
    write_vectors(path, Vectors(names, matrix, model.origin([modality])))
    return path


def musicxml_of(number: int) -> bytes:
    """A score of one part as MusicXML."""
    steps = dict(zip(SCALE, "CDEFGABC", strict=True))
    measures = []
    for at in range(0, 64, 4):
        notes = "".join(
            f"<note><pitch><step>{steps[pitch]}</step><octave>{5 if pitch == 72 else 4}</octave>"
            "</pitch><duration>1</duration><type>quarter</type></note>"
            for pitch in pitches_of(number)[at : at + 4]
        )
        head = "" if at else "<attributes><divisions>1</divisions></attributes>"
        measures.append(f'<measure number="{at // 4 + 1}">{head}{notes}</measure>')
    part = f'<part id="P1">{"".join(measures)}</part>'
    names = '<part-list><score-part id="P1"><part-name>Flute</part-name></score-part></part-list>'
    return f'<score-partwise version="4.0">{names}{part}</score-partwise>'.encode()


def shown(value: object) -> str:
    """A value as a JavaScript literal."""
    return json.dumps(value)
