"""A tiny model, a small collection of every kind, and a service of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from retrieval.workplace import TEXTS, performance, tiny_model
from service.live import Live, serving

from clamp3.formats.audio import MelFrontEnd
from clamp3.formats.mtf import mtf_to_midi
from clamp3.models.checkpoints import save_checkpoint
from clamp3.retrieval.embedding.embedder import Embedder, load_model
from clamp3.retrieval.index.writer import build_index
from clamp3.retrieval.vectors import Vectors, write_vectors

GENRES = ("jig", "reel", "air")
ODD_NAMES = ("deep/er/ü & é.abc", "100% #1?.abc", "a+b ;=.abc")


def tune(number: int) -> str:
    notes = np.random.default_rng(number).choice(list("CDEFGABcd"), 12)
    bars = "|".join("".join(notes[start : start + 4]) for start in (0, 4, 8))
    return f"X:{number + 1}\nT:Tune {number}\nM:4/4\nL:1/4\nK:C\n{bars}|]\n"


def write_scores(folder: Path, texts: Iterable[str]) -> Path:
    """The folder, with the scores 0.abc, 1.abc …"""
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.abc").write_text(text, encoding="utf-8")
    return folder


def sound(number: int, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    times = np.arange(int(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * (200 + 40 * number) * times)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of width 16 that hears through the built-in front end."""
    tiny = tiny_model(MelFrontEnd.feature_size)
    folder = tmp_path_factory.mktemp("models") / "clamp3"
    save_checkpoint(tiny.model, folder, tokenizer=tiny.tokenizer)
    return folder


@pytest.fixture(scope="session")
def model(model_folder: Path) -> Embedder:
    return load_model(model_folder, device="cpu")


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores, MIDI, sound and a text; some names are odd ones."""
    folder = tmp_path_factory.mktemp("collection") / "music"
    (folder / "deep/er").mkdir(parents=True)
    write_scores(folder / "scores", map(tune, range(9)))
    for number, name in enumerate(ODD_NAMES):
        (folder / name).write_text(tune(20 + number), encoding="utf-8")
    for number in range(4):
        (folder / f"{number}.mid").write_bytes(mtf_to_midi(performance(number)))
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", sound(number), 16_000)
    (folder / "words.txt").write_text(TEXTS[0], encoding="utf-8")
    return folder


def index_of(model: Embedder, music: Path, folder: Path) -> Path:
    """An index of all files in a folder; ids are their paths."""
    found = model.embed_files(music)
    assert not found.rejected
    labels = {"modality": found.modalities}
    table = folder / "vectors.parquet"
    vectors = Vectors(found.ids, found.embeddings, model.origin(found.modalities), labels)
    write_vectors(table, vectors)
    known = "".join(
        f"{name}\t{GENRES[number % 3]}\tPiece {number}\n" for number, name in enumerate(found.ids)
    )
    (folder / "known.tsv").write_text(f"id\tgenre\ttitle\n{known}", encoding="utf-8")
    build_index(folder / "index", [table], metadata=[folder / "known.tsv"], files=[music])
    return folder / "index"


@pytest.fixture(scope="session")
def index(model: Embedder, music: Path) -> Path:
    return index_of(model, music, music.parent)


@pytest.fixture(scope="module")
def live(model: Embedder, index: Path) -> Iterator[Live]:
    """One service for all tests of a module that change nothing about it.

    Not for the session: while it runs, temporary files of other tests would lie in its folder.
    """
    with serving(model, index) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test sends, no upload is left."""
    yield
    if "live" in request.fixturenames:
        request.getfixturevalue("live").wait_until_empty()
