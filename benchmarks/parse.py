"""Speed of PDMX.csv to the catalogue, in seconds and rows per second.

    python benchmarks/parse.py [--rows 254077] [--files 20000]

Writes a table of the size of PDMX (or `--rows`) with cells like those of the real one, and a tree
of `--files` scores and as many MIDI files, to a temporary folder, and times reading the table,
reading it while looking for every file, and building the whole catalogue.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measuring import peak_megabytes

from clamp3.config import ParseConfig, Splits
from clamp3.data.catalog import build_catalog
from clamp3.data.pdmx import parse_pdmx
from clamp3.data.shards import part_names

ROWS = 254_077  # in the release of 2025
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
_COLUMNS = _NAMES.split()
_LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ123456789"
_WORDS = ("sonata", "waltz", "song", "old", "river", "spring", "hands", "major", "minor", "choir")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--files", type=int, default=20_000, help="rows whose files are there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table, small = folder / "PDMX.csv", folder / "tree" / "PDMX.csv"
        write_table(table, options.rows, seed=1)
        write_files(small, write_table(small, options.files, seed=2))
        print(f"{table.stat().st_size / 1e6:.0f} MB")
        print(f"{'':36}{'rows':>8}{'s':>7}{'CPU s':>7}{'rows/s':>9}")
        clock("read the table", options.rows, lambda: parse_pdmx(table, "data/pdmx"))
        clock(
            "read it and look for each file",
            options.files,
            lambda: parse_pdmx(small, small.parent, check_files=True),
        )
        clock("build the catalogue, 8 parts", options.rows, lambda: build(table, folder))
    print(f"largest memory {peak_megabytes() / 1000:.1f} GB")


def clock(what: str, rows: int, work: Callable[[], object]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:36}{rows:8}{wall:7.1f}{cpu:7.1f}{rows / wall:9.0f}")


def build(table: Path, folder: Path) -> None:
    build_catalog(
        table,
        [folder / "catalog" / name for name in part_names(8)],
        folder / "catalog" / "rejected.parquet",
        parse=ParseConfig(
            subset="all",
            check_files=False,
            collections={},
            max_rejected_share=0.0,
        ),
        folder="data/pdmx",
        splits=Splits(validation_share=0.01, test_share=0.01),
        seed=42,
    )


def write_table(path: Path, rows: int, seed: int) -> list[str]:
    """Write a table like PDMX.csv; the places of its pieces, such as 1/11/Qm…."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    places = []
    with open(path, "w", encoding="utf-8") as file:
        file.write(",".join(_COLUMNS) + "\n")
        for _ in range(rows):
            places.append(f"{dice.randrange(10)}/{dice.randrange(10, 60)}/{_name(dice)}")
            file.write(",".join(_cells(dice, places[-1]).values()) + "\n")
    return places


def write_files(table: Path, places: list[str]) -> None:
    for place in places:
        for kind in ("mxl", "mid"):
            path = table.parent / kind / f"{place}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def _name(dice: random.Random) -> str:
    return "Qm" + "".join(dice.choices(_LETTERS, k=44))


def _cells(dice: random.Random, place: str) -> dict[str, str]:
    path = f"./data/{place}.json"
    cells = dict.fromkeys(_COLUMNS, "False") | dict.fromkeys(_COLUMNS[:2] + _COLUMNS[46:56], path)
    cells |= {kind: f"./{kind}/{place}.{kind}" for kind in ("mxl", "pdf", "mid")}
    cells |= {name: str(dice.randrange(99)) for name in _COLUMNS if name.startswith("n_")}
    cells |= {name: str(dice.random()) for name in _COLUMNS if name.endswith("consistency")}
    words = " ".join(dice.choices(_WORDS, k=5))
    return cells | {
        "rating": dice.choice(["0.0", "4.66"]),
        "license": "publicdomain",
        "license_url": "https://creativecommons.org/publicdomain/mark/1.0/",
        "genres": dice.choice(["NA", "classical", "folk-worldmusic", "religiousmusic"]),
        "groups": "NA",
        "tags": dice.choice(["NA", "-".join(dice.choices(_WORDS, k=4))]),
        "song_name": words,
        "title": f"{words} no. {dice.randrange(999)}",
        "subtitle": dice.choice(["NA", "NA", "for SATB choir"]),
        "artist_name": "NA",
        "composer_name": dice.choice(["NA", "J.S. Bach", "Traditional"]),
        "publisher": "NA",
        "complexity": dice.choice(["NA", "0", "1", "2", "3"]),
        "tracks": "-".join(sorted(dice.choices(["0", "40", "42", "52", "73"], k=3))),
        "song_length.bars": str(dice.randrange(1, 400)),
        "notes_per_bar": str(dice.random() * 40),
        "subset:all": "True",
        "subset:all_valid": "True",
    }


if __name__ == "__main__":
    main()
