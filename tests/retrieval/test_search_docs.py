"""What docs/search.md says of Python runs as it stands there."""

from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from retrieval.workplace import score

import clamp3
from clamp3 import load_model, open_index
from clamp3.retrieval.vectors import Vectors, read_vectors, write_vectors

TUNE = "X:1\nT:A reel\nM:4/4\nL:1/8\nK:D\nDEFG ABcd|\n"
BLOCKS = [
    part.split("```")[0]
    for part in (ROOT / "docs/search.md").read_text(encoding="utf-8").split("```python\n")[1:]
]


@pytest.fixture
def place(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, an index and files of the names in the text."""
    monkeypatch.chdir(tmp_path)
    Path("MODEL").symlink_to(model_folder)
    for folder in ("music", "new"):
        Path(folder).mkdir()
    for number in range(6):
        Path(f"music/{number}.abc").write_text(score(number))
    for path in ("new/7.abc", "tune.abc"):
        Path(path).write_text(TUNE)
    known = "".join(f"{n}.abc,{('reel', 'jig')[n % 2]},{1780 + 50 * n}\n" for n in range(6))
    Path("known.csv").write_text("id,genre,year\n" + known)
    model = load_model("MODEL", device="cpu")
    found = model.embed_files("music")
    origin = model.origin(found.modalities)
    labels = {"modality": found.modalities}
    write_vectors(Path("v.parquet"), Vectors(found.ids, found.embeddings, origin, labels))
    clamp3.build_index("INDEX", ["v.parquet"], metadata=["known.csv"], files=["music"])
    return tmp_path


def test_every_block_runs(place: Path, capsys: pytest.CaptureFixture):
    names: dict[str, object] = {}
    assert len(BLOCKS) == 7
    for block in BLOCKS:
        exec(block, names)
    assert {hit.metadata["genre"] for hit in names["reels"]} == {"reel"}
    assert names["first"] not in [hit.id for hit in names["alike"]]
    assert len(names["alike"]) == 5
    assert names["rows"].ids == ["1.abc", "2.abc", "3.abc", "4.abc", "5.abc", "7.abc"]
    saved = np.load("scores.npz")
    assert saved["embeddings"].shape == (6, 16)
    assert "A reel" not in capsys.readouterr().err


def test_rows_of_an_index_make_a_table_of_the_same(place: Path):
    index = open_index("INDEX")
    rows = index.vectors()
    write_vectors(place / "again.parquet", rows)
    again = read_vectors(place / "again.parquet")
    assert again.origin.space == index.space
    assert again.labels == {"modality": ["abc"] * 6}
    clamp3.build_index("OTHER", ["again.parquet"])
    query = index.embedding("3.abc")
    assert [h.id for h in open_index("OTHER").search(query)] == [h.id for h in index.search(query)]
    assert len(index.vectors(["genre=jig"]).ids) == 3
    assert index.vectors(["genre=none"]).embeddings.shape == (0, 16)


def test_every_public_name_is_there():
    for name in clamp3.__all__:
        assert getattr(clamp3, name).__doc__
    assert set(clamp3.__all__) <= set(dir(clamp3))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        clamp3.nothing  # noqa: B018
