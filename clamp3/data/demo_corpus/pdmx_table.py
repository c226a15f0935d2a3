"""The demo's PDMX.csv: the columns and conventions of the real one.

Missing values are `NA`, truth is `True` or `False`, lists are joined with `-`, strings have no
commas. What a score of the demo cannot have (a website's page, a PDF, MusPy's statistics) is `NA`;
nobody rated it, so it lies in no rated subset. `path` is a row's name and no file of the demo.
"""

import csv
import io
import re
from collections.abc import Iterable

from clamp3.data.demo_corpus.music21_corpus import BACH_CHORALES
from clamp3.data.demo_corpus.pieces import Piece

_COLUMNS = """
path metadata mxl pdf mid version is_user_pro is_user_publisher is_user_staff has_paywall is_rated
is_official is_original is_draft has_custom_audio has_custom_video n_comments n_favorites n_views
n_ratings rating license license_url license_conflict genres groups tags song_name title subtitle
artist_name composer_name publisher complexity n_tracks tracks song_length song_length.seconds
song_length.bars song_length.beats n_notes notes_per_bar n_annotations has_annotations n_lyrics
has_lyrics n_tokens pitch_class_entropy scale_consistency groove_consistency best_path is_best_path
best_arrangement is_best_arrangement best_unique_arrangement is_best_unique_arrangement subset:all
subset:rated subset:deduplicated subset:rated_deduplicated subset:no_license_conflict
subset:all_valid
"""

_FALSE = """
is_user_pro is_user_publisher is_user_staff has_paywall is_rated is_official is_original is_draft
has_custom_audio has_custom_video license_conflict subset:rated subset:rated_deduplicated
"""
_TRUE = """
is_best_path is_best_arrangement is_best_unique_arrangement subset:all subset:deduplicated
subset:no_license_conflict subset:all_valid
"""
_ZERO = "n_comments n_favorites n_views n_ratings rating"
PDMX_COLUMNS = tuple(_COLUMNS.split())
_CONSTANTS = {
    **dict.fromkeys(_FALSE.split(), False),
    **dict.fromkeys(_TRUE.split(), True),
    **dict.fromkeys(_ZERO.split(), 0),
}

_STEPS_PER_QUARTER = 480
_DENSITIES = (2.5, 4.5, 7.0)  # notes a second in one part from which complexity is 1, 2, 3


def pdmx_csv(pieces: Iterable[Piece]) -> str:
    """The text of PDMX.csv, one row a piece."""
    text = io.StringIO()
    table = csv.DictWriter(text, PDMX_COLUMNS, restval="NA", lineterminator="\n")
    table.writeheader()
    table.writerows(_row(piece) for piece in pieces)
    return text.getvalue()


def _row(piece: Piece) -> dict[str, str | int | float | bool]:
    row = _CONSTANTS | _places(piece) | _words(piece) | _counts(piece)
    return {
        column: value.replace(",", "") if isinstance(value, str) else value
        for column, value in row.items()
        if value not in ("", None)
    }


def _places(piece: Piece) -> dict[str, str]:
    place = f"{piece.folder}/{piece.name}"
    path = f"./data/{place}.json"
    return {
        "path": path,
        "mxl": f"./mxl/{place}.mxl",
        "mid": f"./mid/{place}.mid",
        "best_path": path,
        "best_arrangement": path,
        "best_unique_arrangement": path,
    }


def _words(piece: Piece) -> dict[str, str | None]:
    source = piece.source
    chorale = source.kind == "chorale"
    key = f"{piece.tonic[0]}{piece.tonic[1:].replace('b', 'flat').replace('#', 'sharp')}"
    tags = [source.kind, "four voices" if chorale else "fiddle tune", f"{key} {piece.mode}"]
    return {
        "license": "publicdomain",
        "license_url": "https://creativecommons.org/publicdomain/mark/1.0/",
        "genres": _joined(["classical", "religious music"] if chorale else ["folk"]),
        "groups": _joined([source.collection]),
        "tags": _joined(tags),
        "song_name": " ".join(filter(None, [source.title, source.catalogue_number])),
        "title": source.title,
        "subtitle": f"{source.kind.capitalize()} in {piece.tonic} {piece.mode} {piece.meter}",
        "composer_name": source.composer,
        "publisher": None if source.collection == BACH_CHORALES else source.collection,
    }


def _joined(words: list[str]) -> str:
    return "-".join(re.sub("[^a-z]", "", word.lower()) for word in words)


def _counts(piece: Piece) -> dict[str, str | int | float | bool]:
    parts = len(piece.programs)
    density = piece.notes / piece.seconds / parts
    beat_unit = int(piece.meter.split("/")[1])
    return {
        "complexity": sum(density >= limit for limit in _DENSITIES),
        "n_tracks": parts,
        "tracks": "-".join(str(program) for program in sorted(piece.programs)),
        "song_length": round(piece.quarters * _STEPS_PER_QUARTER),
        "song_length.seconds": round(piece.seconds, 3),
        "song_length.bars": piece.bars,
        "song_length.beats": round(piece.quarters * beat_unit / 4),
        "n_notes": piece.notes,
        "notes_per_bar": round(piece.notes / piece.bars, 3),
        "n_lyrics": piece.lyrics,
        "has_lyrics": piece.lyrics > 0,
    }
