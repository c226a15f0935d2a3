"""A copy of a tree with a finished run, and in it what the pages' commands name.

The pages speak of `music/`, `MODEL` or `known.csv` as of a reader's own; here they are made of the
demo's pieces.
"""

import csv
import shutil
from itertools import islice
from pathlib import Path

from clamp3 import build_index
from clamp3.data.store import Store
from clamp3.errors import DataError

LEFT_OUT = (".git", ".venv", ".dvc", "cache", "__pycache__", "_build", "resume", ".pytest_cache")
MODEL, INDEX = Path("results/models/clamp3"), Path("results/index")
VECTORS = Path("results/embeddings")
PIECES = 24  # in folders
KINDS = ("jig", "reel")
LINKS = {
    "MODEL": MODEL,
    "models/clamp3": MODEL,
    "MUSIC": "music",
    "generated.parquet": VECTORS / "clamp3/pdmx/mtf.parquet",
    "real.parquet": VECTORS / "clamp3/pdmx/abc.parquet",
    "more.parquet": VECTORS / "clamp3/pdmx/mtf.parquet",
    "base-texts.parquet": VECTORS / "clamp3/pdmx/text.parquet",
    "base-scores.parquet": VECTORS / "clamp3/pdmx/abc.parquet",
    "lora-texts.parquet": VECTORS / "clamp3/pdmx/text.parquet",
    "lora-scores.parquet": VECTORS / "lora/pdmx/abc.parquet",
}


def prepare(tree: Path, place: Path) -> Path:
    """Copy the tree to `place` and lay there what the pages name; `place`.

    Raises DataError where the tree has no finished run.
    """
    if not (tree / INDEX / "index.json").is_file():
        raise DataError(f"{tree}: no finished run there; expected results/index, by `make run`")
    shutil.copytree(tree, place, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    (place / ".venv").symlink_to(tree / ".venv")
    for name, target in LINKS.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).symlink_to(place / target)
    _lay_pieces(place)
    _lay_tables(place)
    build_index(
        place / "COLLECTION",
        [place / VECTORS / "clamp3/pdmx/abc.parquet"],
        metadata=[place / "collection.csv"],
    )
    return place


def _lay_pieces(place: Path) -> None:
    """Folders of scores, performances, recordings and texts that are called alike."""
    scores = Store(place / "data/abc")
    sounds = {path.stem: path for path in sorted((place / "data/recordings").rglob("*.ogg"))}
    rows = [row for row in _pdmx(place) if Path(row["mid"]).stem in sounds]
    for number, row in enumerate(islice(rows, PIECES), start=1):
        name = Path(row["mid"]).stem
        abc = scores.get(f"pdmx/{name}")
        mxl, midi = (place / "data/demo" / row[kind] for kind in ("mxl", "mid"))
        _lay(place / f"music/tunes/{number}.abc", abc)
        _lay(place / f"scores/{number}{('.abc', '.mxl')[number % 2]}", (abc, mxl)[number % 2])
        _lay(place / f"performances/{number}.mid", midi)
        _lay(place / f"texts/{number}.txt", row["title"])
        _lay(place / f"queries/{number}.txt", f"{row['title']}, {row['subtitle']}")
        if number == 1:
            for path in ("tune.abc", "new/7.abc"):
                _lay(place / path, abc)
            for path in ("tune.mid", "music/played.mid"):
                _lay(place / path, midi)
            for path in ("song.ogg", "music/recorded.ogg"):
                _lay(place / path, sounds[name])


def _lay(path: Path, content: Path | str) -> None:
    """Copy a file, or write a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copy(content, path)
    else:
        path.write_text(content, encoding="utf-8")


def _pdmx(place: Path) -> list[dict[str, str]]:
    with open(place / "data/demo/PDMX.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lay_tables(place: Path) -> None:
    """What is known of the pieces: known.csv and labels.csv of music/, collection.csv of an index,
    pieces.csv of scores/."""
    numbers = range(1, PIECES + 1)
    kinds = {number: KINDS[number % 2] for number in numbers}
    known = [(f"tunes/{n}.abc", kinds[n], 1700 + 10 * n) for n in numbers]
    _write(place / "known.csv", ("id", "genre", "year"), known)
    _write(place / "labels.csv", ("id", "label"), [row[:2] for row in known])
    _write(place / "pieces.csv", ("id", "kind"), [(str(n), kinds[n]) for n in numbers])
    rows = [
        (f"pdmx/{Path(row['mid']).stem}", "jig" if "jig" in row["tags"] else "other", 1850)
        for row in _pdmx(place)
    ]
    _write(place / "collection.csv", ("id", "genre", "year"), rows)
    (place / "labels.txt").write_text("\n".join(KINDS) + "\n", encoding="utf-8")


def _write(path: Path, head: tuple, rows: list[tuple]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
