"""The demo's stand-ins for WikiMT-X and MidiCaps: the pieces that no model has trained on.

Their texts say what the sources' metadata and the notes say, and nothing else. They are worded
otherwise than those which the catalogue makes of PDMX.csv, so a model is not tested on the very
sentences it learnt from.
"""

import hashlib
from bisect import bisect

from clamp3.data.demo_corpus.music21_corpus import BACH_CHORALES, ONEILLS_1850, RYANS_MAMMOTH
from clamp3.data.demo_corpus.pieces import Piece
from clamp3.data.instruments import PROGRAM_NAMES, ensemble, with_article
from clamp3.formats.musicxml import musicxml_to_abc

_YEARS = {RYANS_MAMMOTH: 1883, ONEILLS_1850: 1903}
_TEMPO_WORDS = (
    *("Largo", "Adagio", "Andante", "Moderato"),
    *("Allegro", "Vivace", "Presto", "Prestissimo"),
)
_TEMPO_LIMITS = (60, 76, 108, 120, 156, 176, 200)  # quarter notes a minute
_DURATION_WORDS = ("Short fragment", "Short song", "Song")
_DURATION_LIMITS = (15, 60)  # seconds


def wikimt_x_row(piece: Piece) -> dict[str, str]:
    """A line of wikimt-x-public.jsonl; its id is the piece's name, its leadsheet plain ABC.

    Raises FormatError where the score cannot be converted.
    """
    source = piece.source
    chorale = source.collection == BACH_CHORALES
    players = ensemble(piece.programs)
    parts = "four voices" if chorale else "a single melody"
    return {
        "id": piece.name,
        "title": source.title,
        "artists": source.composer or "",
        "genre": "religious" if chorale else "folk",
        "background": _background(piece),
        "analysis": (
            f"{source.kind.capitalize()}, {_key(piece)}. The music has {parts} and the time "
            f"signature {piece.meter}; it lasts {piece.bars} bars and has {piece.notes} notes. "
            f"Set for {players}."
        ),
        "description": (
            f"A four-voice church song performed by {players}."
            if chorale
            else f"A folk tune, {with_article(source.kind)}, performed by {players}."
        ),
        "scene": _scene(source.kind),
        "leadsheet": musicxml_to_abc(piece.mxl),
    }


def _background(piece: Piece) -> str:
    source = piece.source
    if source.collection == BACH_CHORALES:
        return (
            f"“{source.title}” ({source.catalogue_number}) is one of the chorales "
            f"that {source.composer} set for four voices."
        )
    credit = f" as a work of {source.composer}" if source.composer else ""
    year = _YEARS[source.collection]
    return f"“{source.title}” was printed{credit} in {source.collection} ({year})."


def _scene(kind: str) -> str:
    if kind == "chorale":
        return "A congregation or a choir sings this in church."
    if kind == "air":
        return "People sit together and listen to an old air."
    return f"People are dancing {with_article(kind)}."


def location_in_lakh(piece: Piece) -> str:
    """Where Lakh, of which MidiCaps speaks, keeps a MIDI file: by the MD5 of its bytes."""
    name = hashlib.md5(piece.mid, usedforsecurity=False).hexdigest()
    return f"{name[0]}/{name}.mid"


def midicaps_row(piece: Piece) -> dict:
    """A line of train.json; nobody has analysed chords and moods, so they are empty."""
    chorale = piece.source.collection == BACH_CHORALES
    genres = ["classical", "religious"] if chorale else ["folk", "dance"]
    if piece.source.kind == "air":
        genres = ["folk"]
    programs = list(dict.fromkeys(piece.programs))
    return {
        "location": f"lmd_full/{location_in_lakh(piece)}",
        "caption": _caption(piece, genres[0]),
        "genre": genres,
        "genre_prob": [1.0] * len(genres),
        "mood": [],
        "mood_prob": [],
        "key": f"{piece.tonic} {piece.mode}",
        "time_signature": piece.meter,
        "tempo": piece.tempo,
        "tempo_word": _tempo_word(piece),
        "duration": round(piece.seconds),
        "duration_word": _duration_word(piece),
        "chord_summary": [],
        "chord_summary_occurence": 0,  # MidiCaps' own spelling
        "instrument_summary": [PROGRAM_NAMES[program] for program in programs],
        "instrument_numbers_sorted": programs,
        "all_chords": [],
        "all_chords_timestamps": [],
        "test_set": True,
    }


def _caption(piece: Piece, genre: str) -> str:
    tune = with_article(piece.source.kind)
    return (
        f"A {genre} {_duration_word(piece).lower()} featuring {ensemble(piece.programs)}: "
        f"{tune} at {piece.tempo} beats per minute ({_tempo_word(piece)}), "
        f"with {piece.meter} as its time signature and {_key(piece)} as its tonality."
    )


def _tempo_word(piece: Piece) -> str:
    return _TEMPO_WORDS[bisect(_TEMPO_LIMITS, piece.tempo)]


def _duration_word(piece: Piece) -> str:
    return _DURATION_WORDS[bisect(_DURATION_LIMITS, piece.seconds)]


def _key(piece: Piece) -> str:
    """The key in words: "B flat major"."""
    tonic = piece.tonic[0] + piece.tonic[1:].replace("b", " flat").replace("#", " sharp")
    return f"{tonic} {piece.mode}"
