"""A folder of files of every kind for the tests of embedding."""

from pathlib import Path

import numpy as np
from retrieval.workplace import TEXTS, performance, score

from clamp3.formats.mtf import mtf_to_midi


def fill_folder(folder: Path, count: int, width: int = 6) -> Path:
    """`count` files each of scores, performances, MIDI, texts and features, and two broken ones."""
    rng = np.random.default_rng(3)
    for number in range(count):
        place = folder / f"part {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.abc").write_text(score(number), encoding="utf-8")
        (place / f"{number}p.mtf").write_text(performance(number), encoding="utf-8")
        (place / f"{number}m.mid").write_bytes(mtf_to_midi(performance(number + 50)))
        text = f"{TEXTS[number % 4]}\nnumber {number}"
        (place / f"{number}.txt").write_text(text, encoding="utf-8")
        np.save(place / f"{number}f.npy", rng.standard_normal((1 + number % 20, width)))
    (folder / "broken.mid").write_bytes(b"MThd\x00\x00")
    (folder / "empty.abc").write_text("")
    return folder


def tables_in(*folders: Path) -> list[Path]:
    """The tables <collection>/<modality>.parquet of folders of embeddings."""
    return [path for folder in folders for path in sorted(folder.glob("*/*.parquet"))]
