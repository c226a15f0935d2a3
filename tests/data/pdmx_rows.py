"""PDMX.csv by hand: the columns of two releases and rows whose cells a test chooses."""

from pathlib import Path

_NAMES = """
path metadata mxl pdf mid version is_user_pro is_user_publisher is_user_staff has_paywall is_rated
is_official is_original is_draft has_custom_audio has_custom_video n_comments n_favorites n_views
n_ratings rating license license_url license_conflict genres groups tags song_name title subtitle
artist_name composer_name publisher complexity n_tracks tracks song_length song_length.seconds
song_length.bars song_length.beats n_notes notes_per_bar n_annotations has_annotations n_lyrics
has_lyrics n_tokens pitch_class_entropy scale_consistency groove_consistency best_path
is_best_path best_arrangement is_best_arrangement best_unique_arrangement
is_best_unique_arrangement subset:all subset:rated subset:deduplicated subset:rated_deduplicated
subset:no_license_conflict subset:all_valid
"""
COLUMNS = _NAMES.split()
OLD_COLUMNS = [
    column.replace("all_valid", "valid_mxl_pdf") for column in COLUMNS if column != "mid"
]

# Nothing is known of it but that it is there.
BARE = dict.fromkeys(COLUMNS, "NA") | {
    "license": "publicdomain",
    "license_conflict": "False",
    "rating": "0.0",
    "subset:all": "True",
    "subset:rated": "False",
    "subset:deduplicated": "True",
    "subset:rated_deduplicated": "False",
    "subset:no_license_conflict": "True",
    "subset:all_valid": "True",
    "subset:valid_mxl_pdf": "True",
}
FULL = BARE | {
    "version": "3.02",
    "n_views": "87",
    "rating": "4.66",
    "license": "cc-zero",
    "license_url": "https://creativecommons.org/publicdomain/zero/1.0/",
    "genres": "classical-religiousmusic",
    "groups": "piano",
    "tags": "mozart-contredanse-kh",
    "song_name": "The London Sketchbook 15a - 15ss",
    "title": "W.A. Mozart - Contredanse in F K. 15h",
    "subtitle": "K. 15h",
    "artist_name": "Wolfgang Amadeus Mozart",
    "composer_name": "W.A. Mozart",
    "complexity": "1.0",
    "n_tracks": "3",
    "tracks": "0-40-40",
    "song_length.bars": "24",
    "notes_per_bar": "8.25",
    "subset:rated": "True",
}


def row(name: str, cells: dict[str, str] = BARE, **changes: str) -> dict[str, str]:
    """The cells of the score `name`; `song_length__bars="3"` changes column song_length.bars."""
    paths = {kind: f"./{kind}/1/11/{name}.{kind}" for kind in ("mxl", "mid", "pdf")}
    changes = {column.replace("__", "."): cell for column, cell in changes.items()}
    return cells | {"path": f"./data/1/11/{name}.json", **paths} | changes


def write_csv(path: Path, rows: list[dict[str, str]], columns: list[str] = COLUMNS) -> Path:
    lines = [",".join(columns), *(",".join(cells[column] for column in columns) for cells in rows)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
