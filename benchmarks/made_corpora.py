"""Corpora of any size, like the real data sets in layout and in what a piece costs.

    python benchmarks/made_corpora.py bodies FOLDER [--count 250]
    python benchmarks/made_corpora.py sizes FOLDER
    python benchmarks/made_corpora.py pdmx FOLDER --bodies FOLDER --pieces 254077
    python benchmarks/made_corpora.py lakh FOLDER --bodies FOLDER --pieces 176581
    python benchmarks/made_corpora.py vectors TABLE --pieces 1000000 [--width 768]
    python benchmarks/made_corpora.py pairs MANIFEST --pieces 2310000

Bodies are real files, from music21's corpus: scores as they lie there, performances as music21
plays its tunes and chorales, several at once until they are as long as those of PDMX and, as bands,
as those of Lakh. Pieces are hard links to them under names of their own, every body as often as
every other, so that a corpus of 100 and one of 100,000 cost the same a piece and next to nothing on
disk. `pdmx` has PDMX's columns, `lakh` is MidiCaps' list beside `lmd_full/`, `vectors` a table like
those of `clamp3 embed`, and `pairs` a training manifest with texts of M4-RAG's lengths. A corpus'
`bodies.tsv` says which body a piece is.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from made_bodies import FEATURE_SIZE, make_big, print_sizes, texts_of, write_bodies
from parse import write_table as write_pdmx_table

BODIES = 250
LISTING = "bodies.tsv"
# Mean bytes of a text of M4-RAG (CLaMP 3, table 1) and of its translations.
TEXT_BYTES = {"background": 532, "analysis": 770, "description": 592, "scene": 751}
TRANSLATED_BYTES = {"background": 820, "analysis": 1130, "description": 889, "scene": 1077}
_OPTIONS = {
    "count": ("bodies",),
    "bodies": ("pdmx", "lakh", "fill", "big"),
    "pieces": ("pdmx", "lakh", "vectors", "pairs"),
    "width": ("vectors",),
    "store": ("fill",),
    "size": ("big",),
}
_DEFAULTS = {"count": BODIES, "width": 768}
_WORDS = ("quiet", "river", "slow", "tender", "melody", "over", "strings", "in", "spring")
_WORD_BYTES = sum(map(len, _WORDS)) / len(_WORDS) + 1  # with a space


def main() -> None:
    makers: dict[str, Callable[[argparse.Namespace], None]] = {
        "bodies": lambda given: write_bodies(given.place, given.count),
        "sizes": lambda given: print_sizes(given.place),
        "pdmx": lambda given: write_pdmx(given.place, given.bodies, given.pieces),
        "lakh": lambda given: write_lakh(given.place, given.bodies, given.pieces),
        "vectors": lambda given: write_vectors(given.place, given.pieces, given.width),
        "pairs": lambda given: write_pairs(given.place, given.pieces),
        "fill": lambda given: fill(given.place, given.bodies, given.store),
        "big": lambda given: make_big(given.place, given.bodies, given.size),
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind")
    for kind in makers:
        own = kinds.add_parser(kind)
        own.add_argument("place", type=Path)
        for name, needed_by in _OPTIONS.items():
            if kind in needed_by:
                default = _DEFAULTS.get(name)
                kept = Path if name == "bodies" else str if name == "store" else int
                own.add_argument(f"--{name}", type=kept, default=default, required=default is None)
    given = parser.parse_args()
    if given.kind is None:
        parser.print_help()
    else:
        makers[given.kind](given)


def deal(count: int, pieces: int, seed: int) -> Iterator[int]:
    """Yield the number of a body for each piece: in every `count` pieces each body once."""
    dice, order = random.Random(seed), []
    for _ in range(pieces):
        if not order:
            order = dice.sample(range(count), count)
        yield order.pop()


def write_pdmx(folder: Path, bodies: Path, pieces: int, seed: int = 0) -> None:
    """Make the folder look like PDMX with so many pieces: PDMX.csv, mxl/, mid/."""
    places = write_pdmx_table(folder / "PDMX.csv", pieces, seed=seed + 1)
    numbers = list(deal(_count(bodies, "mxl"), pieces, seed))
    for kind in ("mxl", "mid"):
        targets = [folder / kind / f"{place}.{kind}" for place in places]
        _link(targets, [bodies / kind / f"{number:04d}.{kind}" for number in numbers])
    ids = [f"pdmx/{place.rpartition('/')[2]}" for place in places]
    _write_listing(folder, ids, numbers)


def write_lakh(folder: Path, bodies: Path, pieces: int, seed: int = 0) -> None:
    """Make the folder look like MidiCaps beside Lakh, with so many pieces, all of its test set."""
    dice = random.Random(seed)
    names = [f"{dice.getrandbits(128):032x}" for _ in range(pieces)]
    numbers = list(deal(_count(bodies, "band"), pieces, seed))
    targets = [folder / "lmd_full" / name[0] / f"{name}.mid" for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    _link(targets, [bodies / "band" / f"{number:04d}.mid" for number in numbers])
    with open(folder / "train.json", "w", encoding="utf-8") as lines:
        for name in names:
            lines.write(json.dumps(_midicaps_row(name, dice)) + "\n")
    _write_listing(folder, [f"midicaps/{name}" for name in names], numbers)


def _midicaps_row(name: str, dice: random.Random) -> dict:
    chords = [[dice.choice("ABCDEFG"), place / 2] for place in range(150)]
    return {
        "location": f"lmd_full/{name[0]}/{name}.mid",
        "caption": _text(dice, 400),
        "genre": ["rock", "pop"],
        "genre_prob": [0.4, 0.2],
        "mood": ["energetic", "dark", "film", "deep", "epic"],
        "mood_prob": [0.2, 0.2, 0.1, 0.1, 0.1],
        "key": "F# minor",
        "time_signature": "4/4",
        "tempo": dice.randint(60, 180),
        "tempo_word": "Moderato",
        "duration": dice.randint(30, 400),
        "duration_word": "Song",
        "chord_summary": ["F#m", "D", "A"],
        "chord_summary_occurence": 4,  # MidiCaps' own spelling
        "instrument_summary": ["Piano", "Drums", "Synth Bass"],
        "instrument_numbers_sorted": [0, 38, 128],
        "all_chords": [chord for chord, _ in chords],
        "all_chords_timestamps": [time for _, time in chords],
        "test_set": True,
    }


def write_vectors(path: Path, rows: int, width: int = 768) -> None:
    """Write a table like those of `clamp3 embed`: 4,000 clusters in 64 dimensions."""
    from search import World, write_world

    from clamp3.retrieval.vectors import Origin

    path.parent.mkdir(parents=True, exist_ok=True)
    write_world(path, World(width), rows, Origin("0" * 64, "0" * 64, "abc", "made"))


def write_pairs(path: Path, pairs: int, seed: int = 0) -> None:
    """Write a training manifest with texts as long as those of M4-RAG."""
    dice = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as lines:
        for number in range(pairs):
            lines.write(json.dumps(_pair(f"m4/{number:09d}", dice)) + "\n")


def _pair(name: str, dice: random.Random) -> dict:
    texts = {key: _text(dice, size) for key, size in TEXT_BYTES.items()}
    translations = {key: _text(dice, size) for key, size in TRANSLATED_BYTES.items()}
    return {
        "id": name,
        "filepaths": [f"data/features/{name}.npy"],
        "title": _text(dice, 20),
        "artists": _text(dice, 22),
        "region": "United States",
        "language": "English",
        "genres": ["rock", "indie"],
        "tags": ["guitar", "slow", "melancholic", "live"],
        **texts,
        "translations": {"language": "French", **translations},
    }


def _text(dice: random.Random, size: int) -> str:
    """Words of about so many characters."""
    return " ".join(dice.choices(_WORDS, k=max(1, round(size / _WORD_BYTES))))


def _count(bodies: Path, kind: str) -> int:
    return sum(1 for _ in (bodies / kind).iterdir())


def _link(targets: list[Path], bodies: list[Path]) -> None:
    for folder in sorted({target.parent for target in targets}):
        folder.mkdir(parents=True, exist_ok=True)
    for target, body in zip(targets, bodies, strict=True):
        target.hardlink_to(body)


def _write_listing(folder: Path, ids: list[str], numbers: list[int]) -> None:
    lines = [f"{name}\t{number}\n" for name, number in zip(ids, numbers, strict=True)]
    (folder / LISTING).write_text("".join(lines), encoding="utf-8")


def fill(root: Path, bodies: Path, store: str) -> None:
    """Write those parts of a work tree's store that are missing, with the texts of the bodies.

    As the steps would have; there is nothing to reject in the bodies. Of `features` all parts are
    empty, because there are no recordings, as of scores those of Lakh.
    """
    from clamp3.data.rejected import write_rejected
    from clamp3.files import read_table, write_table

    folder = root / "data" / store
    parts = sorted((root / "data" / "catalog").glob("part-*.parquet"))
    missing = [path for path in parts if not (folder / path.name).exists()]
    numbers = _read_listing(root / "data" / "corpus") if missing else {}
    is_lakh = any(name.startswith("midicaps/") for name in numbers)
    kind = "mxl" if store != "mtf" else "band" if is_lakh else "mid"
    are_known = store != "features" and (kind != "mxl" or not is_lakh)
    texts = texts_of(store, bodies, kind) if missing and are_known else {}
    for part in missing:
        ids = read_table(part, ["id"])["id"].to_pylist()
        write_table(folder / part.name, _store_table(store, ids, numbers, texts))
        write_rejected(folder / f"rejected-{part.name}", [])


def _read_listing(corpus: Path) -> dict[str, int]:
    lines = (corpus / LISTING).read_text(encoding="utf-8").splitlines()
    return {name: int(number) for name, number in (line.split("\t") for line in lines)}


def _store_table(store: str, ids: list[str], numbers: dict[str, int], texts: dict[int, str]):
    import pyarrow as pa

    if store == "features":
        frames = pa.list_(pa.list_(pa.float32(), FEATURE_SIZE))
        return pa.table({"id": pa.array([], pa.string()), "features": pa.array([], frames)})
    kept = [name for name in ids if numbers[name] in texts]
    columns = {"id": kept, "mtf" if store == "mtf" else "abc": [texts[numbers[n]] for n in kept]}
    table = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))
    nulls = pa.nulls(len(table), pa.string())
    return table.append_column("warning", nulls) if store == "mtf" else table


if __name__ == "__main__":
    main()
