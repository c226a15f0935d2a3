"""Approximate search of an index, measured against the exact one when it is built."""

import builtins
from pathlib import Path

import numpy as np
import pytest
from retrieval.indexes import SPACE, WIDTH, names, write_some

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.index.ann import AnnSettings
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.writer import add_to_index, build_index, delete_from_index

SIZE = 6000


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of clustered rows and of queries near them."""
    folder = tmp_path_factory.mktemp("ann")
    draws = np.random.default_rng(0)
    centres = draws.standard_normal((60, WIDTH))
    rows = centres[draws.integers(0, 60, SIZE)] + 0.5 * draws.standard_normal((SIZE, WIDTH))
    write_some(folder / "rows.parquet", names(SIZE), matrix=rows)
    near = rows[:80] + 0.3 * draws.standard_normal((80, WIDTH))
    write_some(folder / "texts.parquet", names(80, "t"), matrix=near, modality="text")
    return folder


@pytest.fixture
def folder(tables: Path, tmp_path: Path) -> Path:
    pytest.importorskip("faiss", reason='approximate search needs faiss: pip install "clamp3[ann]"')
    settings = AnnSettings(0.9, tables / "texts.parquet")
    build_index(tmp_path / "index", [tables / "rows.parquet"], ann=settings)
    return tmp_path / "index"


def recall(folder: Path, **how: object) -> float:
    index = open_index(folder)
    queries = np.random.default_rng(5).standard_normal((50, WIDTH))
    exact, found = (index.search_many(queries, 10, approximate=a, **how) for a in (False, True))
    shared = [
        len({h.id for h in one} & {h.id for h in other}) / 10
        for one, other in zip(exact, found, strict=True)
    ]
    return float(np.mean(shared))


def test_it_finds_what_was_asked_for_and_says_so(folder: Path):
    (facts,) = open_index(folder).info()["approximate"]
    assert (facts["rows"], facts["lists"], facts["queries"]) == (SIZE, 64, 80)
    assert facts["asked"] == "texts.parquet"
    assert 1 <= facts["probes"] < 64
    assert 0.9 <= facts["recall"] < 1
    assert recall(folder) > 0.5
    open_index(folder).check()


def test_similarities_are_those_of_the_exact_search(folder: Path):
    index = open_index(folder)
    query = np.array(index.embedding("00007"))
    exact = {hit.id: hit for hit in index.search(query, SIZE)}
    found = index.search(query, 20, approximate=True)
    assert found[0].id == "00007"
    assert all(exact[hit.id] == hit for hit in found)
    assert found == sorted(found, key=lambda hit: (-hit.similarity, hit.id))


def test_filters_deletions_and_additions_hold(folder: Path, tmp_path: Path):
    index = open_index(folder)
    query = index.embedding("00007")
    delete_from_index(folder, ["00007"])
    new = write_some(tmp_path / "new.parquet", ["new"], matrix=query[None] * 1.001)
    add_to_index(folder, [tmp_path / "new.parquet"])
    index = open_index(folder)
    hits = index.search(query, 10, approximate=True)
    assert hits[0].id == "new"
    assert "00007" not in {hit.id for hit in hits}
    only = index.search(new[0], 10, where=["id>=05900", "id!=new"], approximate=True)
    assert only
    assert all("05900" <= hit.id < "06000" for hit in only)


def test_when_most_rows_go_the_rest_is_searched_exactly(folder: Path):
    delete_from_index(folder, where=["id>=00100"])
    assert open_index(folder).info()["approximate"] == []
    assert recall(folder) == 1


def test_what_cannot_be_is_told(folder: Path, tables: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a recall of 1\.5 is out of reach"):
        build_index(folder, [tables / "rows.parquet"], ann=AnnSettings(1.5))
    write_some(tmp_path / "other.parquet", names(3), space="6" * 64)
    with pytest.raises(DataError, match="queries of model 666"):
        build_index(
            folder, [tables / "rows.parquet"], ann=AnnSettings(0.9, tmp_path / "other.parquet")
        )
    assert recall(folder) > 0.5  # as before
    path = next(folder.rglob("ann.faiss"))
    path.write_bytes(b"x" * path.stat().st_size)
    index = open_index(folder)
    assert index.search(np.ones(WIDTH), space=SPACE)
    with pytest.raises(DataError, match=r"ann\.faiss: damaged"):
        index.search(np.ones(WIDTH), approximate=True)


def test_without_faiss_only_the_exact_search_works(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = builtins.__import__

    def missing(name: str, *rest: object) -> object:
        if name == "faiss":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r'pip install "clamp3\[ann\]"'):
        build_index(tmp_path / "i", [tables / "rows.parquet"], ann=AnnSettings())
    assert not list((tmp_path / "i").glob("segment-*"))
    build_index(tmp_path / "i", [tables / "rows.parquet"])
    hits = open_index(tmp_path / "i").search(np.ones(WIDTH), approximate=True)
    assert len(hits) == 10
