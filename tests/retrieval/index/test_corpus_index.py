"""The pipeline's index of the whole corpus."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from retrieval.workplace import Workplace

from clamp3.config import EmbedConfig, IndexConfig
from clamp3.data.catalog import SCHEMA
from clamp3.errors import DataError
from clamp3.files import read_jsonl, read_table, write_jsonl, write_table
from clamp3.models.checkpoints import load_clamp
from clamp3.retrieval.embedding.collection import embed_model
from clamp3.retrieval.index.corpus import Corpus, index_corpus
from clamp3.retrieval.index.map import index_map
from clamp3.retrieval.index.pieces import open_pieces
from clamp3.retrieval.index.reader import open_index

EMBED = EmbedConfig(batch_tokens=512, threads=1)
TUNE = "X:1\nT:a\nM:C\nL:1/8\nK:Ador\nA8|\n"
PART = "part-00000-of-00001"


@pytest.fixture
def corpus(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """The catalogue, scores, MIDI and sound of the workplace's pieces, of three splits."""
    monkeypatch.chdir(workplace.root)
    rows = []
    for number, (name, texts) in enumerate(workplace.texts.items()):
        known = {key: texts[key] for key in ("id", "title", "genres", "tags")}
        collection = name.partition("/")[0]
        row = dict.fromkeys(SCHEMA.names) | known | {"collection": collection, "bars": number}
        row |= {"split": "test", "mid_path": f"data/demo/mid/{number % 3}/{number}.mid"}
        rows.append(row)
    write_table(Path(f"data/catalog/{PART}.parquet"), pa.Table.from_pylist(rows, SCHEMA))
    write_table(Path(f"data/abc/{PART}.parquet"), pa.table({"id": ["pdmx/Qm1"], "abc": [TUNE]}))
    for number in range(4):  # of the others the catalogue names files that are not there
        path = Path(rows[number]["mid_path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"MThd\0\0")
    sounds = Path(f"data/recordings/{PART}")
    (sounds / "pdmx").mkdir(parents=True)
    (sounds / "pdmx/Qm2.ogg").write_bytes(b"OggS\0")
    split_up(workplace)
    found = sorted(Path("data/manifests").glob("pdmx-*"))
    return Corpus(
        found,
        [Path(f"data/catalog/{PART}.parquet")],
        [Path(f"data/abc/{PART}.parquet")],
        Path("data/demo/mid"),
        [sounds],
        are_rendered=True,
    )


def split_up(workplace: Workplace) -> None:
    """Make half of the scores training pieces."""
    path = workplace.manifests[0]
    lines = [line for _, line in read_jsonl(path)]
    write_jsonl(path, lines[:6])
    write_jsonl(path.with_name("pdmx-abc-train.jsonl"), lines[6:])


def make(workplace: Workplace, corpus: Corpus, name: str, *, approximate: bool = False) -> Path:
    embed_model(workplace.model, workplace.manifests, workplace.embeddings, EMBED)
    index_corpus(
        workplace.model,
        corpus,
        workplace.embeddings / "pdmx/text.parquet",
        Path(name),
        figures=Path(f"{name}.json"),
        rejected=Path(f"{name}-rejected.parquet"),
        embed=EMBED,
        settings=IndexConfig(approximate=approximate, recall=0.9),
    )
    return Path(name)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_holds_every_piece_with_what_is_known_of_it(workplace: Workplace, corpus: Corpus):
    index = open_index(make(workplace, corpus, "index"))
    index.check()
    assert index.info()["modalities"] == {"abc": 12, "audio": 4, "mtf": 12}
    assert index.space == load_clamp(workplace.model, towers=["text"]).fingerprint
    hits = index.search(index.embedding("pdmx/Qm1"), 30, where=["key=A dorian"])
    assert {hit.id for hit in hits} == {"pdmx/Qm1"}
    assert hits[0].metadata["metre"] == "4/4"
    assert index.search(index.embedding("pdmx/Qm1"), 30, where=["bars=2", "modality=audio"])
    assert json.loads(Path("index.json").read_text())["approximate"] == []
    assert len(read_table(Path("index-rejected.parquet"))) == 0
    assert len(index_map("index")) == 28


def test_what_there_is_of_a_piece_can_be_shown_and_played(
    workplace: Workplace, corpus: Corpus, caplog: pytest.LogCaptureFixture
):
    pieces = open_pieces(make(workplace, corpus, "index"))
    assert re.search(r"\d+ MIDI files cannot be played, such as data/demo/mid/\d/\d+", caplog.text)
    formats = {n: pieces.describe(f"pdmx/Qm{n}")["formats"] for n in (0, 1, 2, 9)}
    assert formats == {0: ["midi"], 1: ["abc", "midi"], 2: ["midi", "audio"], 9: []}
    assert pieces.abc("pdmx/Qm1") == TUNE
    assert pieces.audio("pdmx/Qm2").name == "Qm2.ogg"
    assert pieces.describe("pdmx/Qm3")["title"] == "Tom & Jerry's <Reel>"
    with pytest.raises(DataError, match="no piece"):
        pieces.describe("wikimt_x/0")


def test_made_again_it_is_the_same_byte_by_byte(workplace: Workplace, corpus: Corpus):
    pytest.importorskip("faiss", reason='approximate search needs faiss: pip install "clamp3[ann]"')
    first = contents(make(workplace, corpus, "index", approximate=True))
    assert contents(make(workplace, corpus, "index", approximate=True)) == first
    facts = json.loads(Path("index.json").read_text())["approximate"][0]
    assert facts["recall"] >= 0.9
    assert (facts["asked"], facts["count"]) == ("text.parquet", 10)


def test_rendered_recordings_that_are_gone_are_missed(workplace: Workplace, corpus: Corpus):
    told = {"renderer": None, "recordings": 2}
    (Path(corpus.recordings[0]) / "renderer.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"holds 1 recordings, renderer\.json says 2"):
        make(workplace, corpus, "index")


def test_recordings_of_ones_own_are_found_by_name(workplace: Workplace, corpus: Corpus):
    own = Path("sounds")
    (own / "deep").mkdir(parents=True)
    (own / "deep/Qm5.WAV").write_bytes(b"RIFF")
    pieces = open_pieces(
        make(workplace, replace(corpus, recordings=[own], are_rendered=False), "index")
    )
    assert pieces.audio("pdmx/Qm5") == (own / "deep/Qm5.WAV").resolve()
    assert pieces.audio("pdmx/Qm2") is None
