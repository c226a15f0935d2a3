"""A source made into a piece: its two files, and the facts that the tables and texts tell."""

import hashlib
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from clamp3.data.demo_corpus.ensembles import choose_programs, choose_tempo
from clamp3.data.demo_corpus.music21_corpus import Source
from clamp3.data.demo_corpus.scores import Note, read_score
from clamp3.data.demo_corpus.writing import midi, musicxml
from clamp3.errors import FormatError

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_THEME_NOTES = 6
_SAME_MUSIC = 0.3  # share of the themes


@dataclass(frozen=True)
class Piece:
    """What is known of one piece, and its files."""

    name: str  # "Qm…", 46 characters
    folder: str  # "<digit>/<number>" below mxl/ and mid/
    source: Source
    tonic: str  # "Bb"
    mode: str
    meter: str
    tempo: int  # quarter notes a minute
    programs: tuple[int, ...]
    bars: int
    quarters: Fraction  # how long it is
    notes: int
    lyrics: int
    themes: frozenset[tuple[int, ...]]
    mxl: bytes
    mid: bytes

    @property
    def piece_id(self) -> str:
        """The id under which the catalogue holds it."""
        return f"pdmx/{self.name}"

    @property
    def seconds(self) -> float:
        """How long its MIDI file sounds."""
        return float(self.quarters * 60 / self.tempo)


def make_piece(source: Source, seed: int) -> Piece | str:
    """The piece, or a line that says why there is none."""
    try:
        return _make(source, seed)
    except FormatError as error:
        return str(error)
    except Exception as error:  # music21 raises all sorts of things at input it does not expect
        return f"{source.key}: music21 fails with {type(error).__name__}: {error}"


def _make(source: Source, seed: int) -> Piece:
    read = read_score(source)
    programs = choose_programs(source.kind, source.key, seed)
    tempo = choose_tempo(source.kind, read.bar_quarters, source.key, seed)
    digest = hashlib.sha256(source.key.encode()).digest()
    return Piece(
        name=_content_id(digest),
        folder=f"{digest[0] % 10}/{digest[1] % 36}",
        source=source,
        tonic=read.tonic,
        mode=read.mode,
        meter=read.meter,
        tempo=tempo,
        programs=programs,
        bars=read.bars,
        quarters=max(note.end for voice in read.voices for note in voice),
        notes=sum(map(len, read.voices)),
        lyrics=sum(len(note.lyrics) for note in read.score.recurse().notes),
        themes=_themes(read.voices[0]),
        mxl=musicxml(read, programs, title=source.title, composer=source.composer),
        mid=midi(read, programs, tempo),
    )


def _content_id(digest: bytes) -> str:
    """A SHA-256 in the form of PDMX's file names: an IPFS content id, version 0 ("Qm…")."""
    number = int.from_bytes(b"\x12\x20" + digest, "big")
    letters = ""
    while number:
        number, rest = divmod(number, 58)
        letters = _BASE58[rest] + letters
    return letters


def _themes(notes: tuple[Note, ...]) -> frozenset[tuple[int, ...]]:
    """All runs of intervals between neighbouring notes, so that transposing changes nothing."""
    steps = [after.pitch - before.pitch for before, after in pairwise(notes)]
    return frozenset(
        tuple(steps[start : start + _THEME_NOTES]) for start in range(len(steps) - _THEME_NOTES + 1)
    )


def same_music(first: Piece, second: Piece) -> bool:
    """Whether two pieces are settings of one melody, whatever they are called.

    Among 640 pieces, settings under one title mostly share 40 % to 100 % of the shorter one's
    themes; two tunes that have nothing to do with each other hardly reach 20 %.
    """
    shorter = min(len(first.themes), len(second.themes))
    return shorter > 0 and len(first.themes & second.themes) >= _SAME_MUSIC * shorter
