"""Indexes: exact results, filters, additions, deletions."""

import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
from retrieval.commands import run
from retrieval.indexes import SPACE, WIDTH, brute_force, names, write_some

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.index import merge as index_merge
from clamp3.retrieval.index.hits import Hit
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.writer import Changes, add_to_index, build_index, delete_from_index


def found(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def everything(folder: Path) -> list[str]:
    return sorted(found(open_index(folder).search(np.ones(WIDTH), 10**6)))


@pytest.fixture
def tunes(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """An index of 300 rows with metadata, and its vectors."""
    matrix = write_some(tmp_path / "tunes.parquet", names(300))
    lines = [
        {"id": name, "genre": ("jig", "reel", None)[n % 3], "year": 1800 + n, "tags": ["t", f"{n}"]}
        for n, name in enumerate(names(300))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "known.jsonl").write_text(text, encoding="utf-8")
    changes = build_index(
        tmp_path / "index", [tmp_path / "tunes.parquet"], metadata=[tmp_path / "known.jsonl"]
    )
    assert changes == Changes(300, 0, 0, 0, 300)
    return tmp_path / "index", matrix


@pytest.mark.parametrize("count", [1, 7, 300, 1000])
def test_results_are_those_of_brute_force(tunes: tuple[Path, np.ndarray], count: int):
    folder, matrix = tunes
    index = open_index(folder)
    for query in np.random.default_rng(9).standard_normal((20, WIDTH)):
        hits = index.search(query, count, space=SPACE)
        expected = brute_force(matrix, names(300), query, count)
        assert found(hits) == [name for name, _ in expected]
        np.testing.assert_allclose(
            [h.similarity for h in hits], [c for _, c in expected], atol=1e-14
        )


def test_several_queries_find_what_each_finds(tunes: tuple[Path, np.ndarray]):
    index = open_index(tunes[0])
    queries = np.random.default_rng(8).standard_normal((9, WIDTH))
    assert index.search_many(queries, 5) == [index.search(query, 5) for query in queries]
    assert index.search_many(queries[:0], 5) == []


def test_equal_rows_come_by_id_and_hard_cases_are_right(tmp_path: Path):
    """Copies, multiples, near copies, zeros and extreme lengths, over several segments."""
    draws = np.random.default_rng(1)
    base = draws.standard_normal(WIDTH)
    near = base + 1e-3 * draws.standard_normal((400, WIDTH))
    hard = np.concatenate([np.tile(base, (50, 1)), near, np.zeros((3, WIDTH)), -near[:20]])
    hard *= 2.0 ** draws.integers(-80, 80, (len(hard), 1))  # changes no cosine
    hard = hard.astype(np.float32)
    ids = [f"{number:05d}" for number in draws.permutation(len(hard))]
    write_some(tmp_path / "a.parquet", ids[:100], matrix=hard[:100])
    build_index(tmp_path / "index", [tmp_path / "a.parquet"])
    for start in range(100, len(hard), 150):
        write_some(
            tmp_path / "b.parquet", ids[start : start + 150], matrix=hard[start : start + 150]
        )
        add_to_index(tmp_path / "index", [tmp_path / "b.parquet"])
    index = open_index(tmp_path / "index")
    assert len(index.segments) == 4
    for query in (base, base + 1e-5 * draws.standard_normal(WIDTH), np.zeros(WIDTH)):
        for count in (3, 60, 472, 473):
            hits = index.search(query, count)
            assert found(hits) == [n for n, _ in brute_force(hard, ids, query, count)]


def test_an_index_depends_on_the_rows_alone(tmp_path: Path):
    write_some(tmp_path / "a.parquet", names(50))
    for folder in ("one", "two"):
        build_index(tmp_path / folder, [tmp_path / "a.parquet"])
    files = [
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*.*")
         if p.is_file()}
        for f in ("one", "two")
    ]  # fmt: skip
    assert files[0] == files[1]
    assert len(files[0]) == 6


def test_filters_choose_among_all_rows(tunes: tuple[Path, np.ndarray]):
    folder, matrix = tunes
    index = open_index(folder)
    query = np.random.default_rng(3).standard_normal(WIDTH)
    order = found(index.search(query, 300))
    assert order == [name for name, _ in brute_force(matrix, names(300), query, 300)]
    chosen = {
        ("genre=jig",): {n for n in range(300) if n % 3 == 0},
        ("year>=2000", "genre!=jig"): {n for n in range(200, 300) if n % 3},
        ("tags=17",): {17},
        ("genre=waltz",): set(),
        ("modality=abc", "genre="): {n for n in range(300) if n % 3 == 2},
    }
    for where, rows in chosen.items():
        hits = index.search(query, 1000, where=where)
        assert found(hits) == [name for name in order if int(name) in rows]
    hit = index.search(query, where=["id=00004"])[0]
    assert hit.labels == {"modality": "abc"}
    assert hit.metadata == {"genre": "reel", "year": "1804", "tags": ["t", "4"]}
    with pytest.raises(ConfigError, match="known: field, genre, id, modality, tags, year"):
        index.search(query, where=["colour=red"])


def test_deleted_rows_are_never_found(tunes: tuple[Path, np.ndarray]):
    folder, _ = tunes
    before = open_index(folder)
    assert delete_from_index(folder, ["00003", "00004"]) == 2
    assert delete_from_index(folder, where=["year>=2050"]) == 50
    assert delete_from_index(folder, ["00006", "00007"], where=["genre=jig"]) == 1
    rest = [n for n in names(250) if n not in ("00003", "00004", "00006")]
    assert everything(folder) == rest
    assert found(open_index(folder).search(np.ones(WIDTH), 5, where=["id=00003"])) == []
    for ids in (["00003"], ["00001", "nowhere"]):
        with pytest.raises(DataError, match=f"no row with the id '{ids[-1]}'"):
            delete_from_index(folder, ids)
    with pytest.raises(ConfigError, match="nothing to delete"):
        delete_from_index(folder)
    assert everything(folder) == rest
    assert len(before) == len(before.search(np.ones(WIDTH), 300)) == 300  # its files are its own
    assert len(before.newest()) == 247
    assert before.newest().newest().manifest == open_index(folder).manifest


def test_an_index_can_become_empty_and_be_filled_again(tunes: tuple[Path, np.ndarray]):
    folder, _ = tunes
    assert delete_from_index(folder, where=["modality=abc"]) == 300
    index = open_index(folder)
    assert (len(index), index.search(np.ones(WIDTH)), index.info()["segments"]) == (0, [], 0)
    assert index.search(np.ones(WIDTH), where=["genre=jig"]) == []
    with pytest.raises(DataError, match="no row with the id"):
        index.embedding("00001")
    assert add_to_index(folder, [folder.parent / "tunes.parquet"]).added == 300
    assert everything(folder) == names(300)


def test_adding_replaces_rows_of_the_same_name(tunes: tuple[Path, np.ndarray], tmp_path: Path):
    folder, matrix = tunes
    changed = matrix[:6].copy()
    changed[2:4] *= -1
    write_some(tmp_path / "b.parquet", [*names(5), "new"], matrix=changed)
    assert add_to_index(folder, [tmp_path / "b.parquet"]) == Changes(1, 2, 3, 0, 301)
    assert add_to_index(folder, [tmp_path / "b.parquet"]) == Changes(0, 0, 6, 0, 301)
    index = open_index(folder)
    first = index.search(changed[2], 1)[0]
    assert (first.id, first.metadata["year"]) == ("00002", "1802")  # what was known stays
    np.testing.assert_array_equal(index.embedding("00002"), changed[2])
    assert everything(folder) == sorted([*names(300), "new"])
    (tmp_path / "more.csv").write_text("id,year\n00002.abc,1500\nnew,1600\n")
    changes = add_to_index(folder, [tmp_path / "b.parquet"], metadata=[tmp_path / "more.csv"])
    assert (changes.replaced, changes.unchanged, changes.rows) == (2, 4, 301)
    index = open_index(folder)
    assert index.search(changed[2], 1)[0].metadata == {"tags": ["t", "2"], "year": "1500"}
    assert index.search(changed[2], 1, where=["id=00001"])[0].metadata["year"] == "1801"


def test_rows_are_told_apart_by_modality_and_field(tmp_path: Path):
    labels = {"modality": ["text", "text", "mtf"], "field": ["title", "tags", "-"]}
    write_some(tmp_path / "b.parquet", ["a", "a", "a"], labels=labels)
    write_some(tmp_path / "a.parquet", ["a", "b", "a"], seed=1)  # the later of two counts
    changes = build_index(tmp_path / "index", [tmp_path])
    assert (changes.added, changes.repeated) == (5, 1)
    hits = open_index(tmp_path / "index").search(np.ones(WIDTH), 9, where=["id=a"])
    assert sorted((h.labels["modality"], h.labels.get("field")) for h in hits) == [
        ("abc", None), ("mtf", "-"), ("text", "tags"), ("text", "title")
    ]  # fmt: skip
    assert delete_from_index(tmp_path / "index", ["a"], where=["modality=text"]) == 2


def test_many_additions_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index_merge, "MOST_SEGMENTS", 3)
    folder, rows = tmp_path / "index", {}
    draws = np.random.default_rng(0)
    for number in range(20):
        ids = sorted(draws.choice(names(60), 6, replace=False))
        matrix = write_some(tmp_path / "a.parquet", ids, seed=number)
        rows |= dict(zip(ids, matrix, strict=True))
        (add_to_index if number else build_index)(folder, [tmp_path / "a.parquet"])
        if number % 4 == 3:
            delete_from_index(folder, ids[:2])
            rows = {name: row for name, row in rows.items() if name not in ids[:2]}
        index = open_index(folder)
        assert len(index.segments) <= 4
        assert 2 * index.info()["deleted_rows"] <= 2 * len(index) + 12
        query = draws.standard_normal(WIDTH)
        expected = brute_force(np.stack(list(rows.values())), list(rows), query, 7)
        assert found(index.search(query, 7)) == [name for name, _ in expected]
    named = {s.name for s in index.manifest.segments}
    assert {p.name for p in folder.iterdir() if p.is_dir()} == named


def test_info_says_what_there_is(tunes: tuple[Path, np.ndarray]):
    delete_from_index(tunes[0], ["00000"])
    info = open_index(tunes[0]).info()
    assert (info["rows"], info["deleted_rows"], info["modalities"]) == (299, 1, {"abc": 299})
    assert (info["model"], info["width"]) == (SPACE, WIDTH)
    assert info["properties"] == ["genre", "tags", "year"]
    assert info["bytes"] > 300 * WIDTH * 6


def test_vectors_of_another_model_are_refused(tunes: tuple[Path, np.ndarray], tmp_path: Path):
    folder, _ = tunes
    index = open_index(folder)
    with pytest.raises(DataError, match="vectors of two models cannot be compared"):
        index.search(np.ones(WIDTH), space="6" * 64)
    write_some(tmp_path / "other.parquet", ["x"], space="6" * 64)
    with pytest.raises(DataError, match=r"other\.parquet is of model 666.*cannot be compared"):
        add_to_index(folder, [tmp_path / "other.parquet"])
    with pytest.raises(DataError, match="one index holds vectors of one model"):
        build_index(tmp_path / "i", [tmp_path / "tunes.parquet", tmp_path / "other.parquet"])
    write_some(tmp_path / "wide.parquet", ["x"], matrix=np.ones((1, WIDTH + 1)))
    with pytest.raises(DataError, match=f"width {WIDTH + 1}, expected {WIDTH}"):
        add_to_index(folder, [tmp_path / "wide.parquet"])
    for query in (np.ones(WIDTH + 1), np.ones((2, WIDTH))):
        with pytest.raises(DataError, match="of width 24, queries of shape"):
            index.search(query)
    with pytest.raises(DataError, match="NaN"):
        index.search(np.full(WIDTH, np.nan))
    with pytest.raises(ConfigError, match="at least 1"):
        index.search(np.ones(WIDTH), 0)
    assert everything(folder) == names(300)


def test_only_an_index_is_replaced(tmp_path: Path):
    write_some(tmp_path / "a.parquet", names(3))
    (tmp_path / "music").mkdir()
    (tmp_path / "music/a.abc").write_text("X:1")
    with pytest.raises(ConfigError, match=r"music: holds other files \(a\.abc\)"):
        build_index(tmp_path / "music", [tmp_path / "a.parquet"])
    with pytest.raises(ConfigError, match="a file; an index is a folder"):
        build_index(tmp_path / "a.parquet", [tmp_path / "a.parquet"])
    for folder in (tmp_path / "music", tmp_path / "none"):
        with pytest.raises(DataError, match="not an index"):
            add_to_index(folder, [tmp_path / "a.parquet"])
        with pytest.raises(DataError, match="not an index"):
            open_index(folder)
    with pytest.raises(DataError, match="no tables of embeddings"):
        build_index(tmp_path / "i", [tmp_path / "music"])
    assert [p.name for p in (tmp_path / "music").iterdir()] == ["a.abc"]
    build_index(tmp_path / "i", [tmp_path / "a.parquet"])
    write_some(tmp_path / "a.parquet", names(2, "other"), space="6" * 64)
    build_index(tmp_path / "i", [tmp_path / "a.parquet"])
    assert open_index(tmp_path / "i").space == "6" * 64
    assert everything(tmp_path / "i") == names(2, "other")


def test_tables_in_a_bucket_become_an_index(tmp_path: Path):
    write_some(tmp_path / "v.parquet", names(5))
    place = fsspec.filesystem("memory")
    place.put_file(str(tmp_path / "v.parquet"), "/bucket/v.parquet")
    words = ["index", "build", tmp_path / "i", "memory://bucket/v.parquet"]
    said = run(*words)
    assert said.exit_code == 0, said.output
    assert everything(tmp_path / "i") == names(5)
    place.rm("/bucket", recursive=True)
    said = run(*words)
    assert said.exit_code == 1
    assert said.stderr == "error: memory://bucket/v.parquet: no such file\n"
