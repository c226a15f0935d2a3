"""`clamp3 search` and `clamp3 index`: collections of every kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from retrieval.commands import run
from retrieval.folders import fill_folder
from retrieval.workplace import score, tiny_model

from clamp3.models.checkpoints import save_checkpoint
from clamp3.retrieval.embedding.parquet_output import ParquetOutput
from clamp3.retrieval.vectors import read_vectors


def results(said: str) -> list[dict]:
    return json.loads(said)["results"]


def another_model(tmp_path: Path) -> Path:
    other = tiny_model()
    next(other.model.parameters()).data[0] += 1
    save_checkpoint(other.model, tmp_path / "other", tokenizer=other.tokenizer)
    return tmp_path / "other"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    return fill_folder(tmp_path / "music", 4)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all files that are embedded from now on."""
    found: list[str] = []
    write = ParquetOutput.write

    def listed(self: ParquetOutput, rows: list) -> None:
        found.extend(row.id for row in rows if row.embedding is not None)
        write(self, rows)

    monkeypatch.setattr(ParquetOutput, "write", listed)
    return found


def test_a_folder_of_music_is_embedded_once(music: Path, model_folder: Path, computed: list[str]):
    words = ("search", "a reel", music, "--model", model_folder, "--top-k", 50)
    code, first, _ = run(*words)
    assert (code, len(first.splitlines())) == (0, 20)
    assert len(computed) == len(set(computed)) == 20
    computed.clear()
    assert run(*words)[1] == first
    assert computed == []
    (music / "part 1/1.abc").write_text(score(40), encoding="utf-8")
    (music / "part 2/2.txt").unlink()
    (music / "new.abc").write_text(score(41), encoding="utf-8")
    code, said, _ = run(*words)
    assert sorted(computed) == ["new.abc", "part 1/1.abc"]
    ids = {line.split("\t")[2] for line in said.splitlines()}
    assert len(ids) == 20
    assert "new.abc" in ids
    assert "part 2/2.txt" not in ids


def test_another_model_embeds_anew(music: Path, model_folder: Path, tmp_path: Path, computed):
    assert run("search", "a", music, "--model", model_folder)[0] == 0
    computed.clear()
    assert run("search", "a", music, "--model", another_model(tmp_path))[0] == 0
    assert len(computed) == 20
    computed.clear()
    assert run("search", "a", music, "--model", model_folder)[0] == 0
    assert computed == []


def test_what_was_embedded_before_a_kill_is_kept(
    music: Path, model_folder: Path, computed: list[str], monkeypatch: pytest.MonkeyPatch
):
    words = ("search", "a reel", music, "--model", model_folder, "--top-k", 50)
    with monkeypatch.context() as patch:
        patch.setattr("clamp3.retrieval.embedding.files.GROUP_FILES", 3)
        write = ParquetOutput.write

        def killed(self: ParquetOutput, rows: list) -> None:
            if len(computed) > 8:
                raise KeyboardInterrupt
            write(self, rows)

        patch.setattr(ParquetOutput, "write", killed)
        run(*words)
    before = list(computed)
    assert 8 < len(before) < 20
    assert len(run(*words)[1].splitlines()) == 20
    assert len(computed) == len(set(computed)) == 20


def test_only_broken_files_are_no_collection(music: Path, model_folder: Path, tmp_path: Path):
    words = ("search", "a", tmp_path / "some", "--model", model_folder)
    (tmp_path / "some").mkdir()
    (tmp_path / "some/x.abc").write_text(score(1), encoding="utf-8")
    assert run(*words)[0] == 0
    (tmp_path / "some/x.abc").write_text("")
    code, said, error = run(*words)
    assert (code, said) == (1, "")
    assert "neither tables of embeddings nor files" in error


@pytest.fixture
def index(music: Path, model_folder: Path, tmp_path: Path) -> Path:
    """An index of the folder, with metadata of its scores."""
    table = tmp_path / "table.parquet"
    assert run("embed", music, table, "--model", model_folder)[0] == 0
    lines = ["file,genre,year"] + [f"part {n % 3}/{n}.abc,{'jig' if n else 'reel'},190{n}"
                                   for n in range(4)]  # fmt: skip
    (tmp_path / "known.csv").write_text("\n".join(lines), encoding="utf-8")
    code, said, _ = run(
        "index", "build", tmp_path / "index", table, "--metadata", tmp_path / "known.csv"
    )
    assert (code, said) == (0, "20 added, 0 replaced, 0 unchanged: 20 rows now\n")
    return tmp_path / "index"


@pytest.mark.parametrize("query", ["a reel in D", "part 1/1.abc", "part 0/0m.mid", "part 2/2f.npy"])
def test_an_index_finds_what_its_table_finds(
    index: Path, music: Path, model_folder: Path, query: str
):
    query = music / query if (music / query).exists() else query
    words = ("--model", model_folder, "--top-k", 20)
    _, expected, _ = run("search", query, index.parent / "table.parquet", *words)
    code, said, _ = run("search", query, index, *words)
    assert code == 0
    lists = [[line.split("\t") for line in text.splitlines()] for text in (expected, said)]
    assert len(lists[0]) == len(lists[1]) == 20
    assert [row[1] for row in lists[0]] == [row[1] for row in lists[1]]
    assert sorted(row[2:] for row in lists[0]) == sorted(row[2:] for row in lists[1])


def test_titles_stand_beside_the_results(index: Path, model_folder: Path):
    table = index.parent / "titles.jsonl"
    table.write_text(
        '{"file": "part 1/1.abc", "title": ["The\\tKesh \\n Jig", "b"]}\n', encoding="utf-8"
    )
    words = (index, index.parent / "table.parquet")
    assert run("index", "add", *words, "--metadata", table)[0] == 0
    said = run("search", "a reel", index, "--model", model_folder, "--top-k", 20)[1]
    rows = {row[2]: row[3:] for row in (line.split("\t") for line in said.splitlines())}
    assert rows["part 1/1.abc"] == ["abc", "The Kesh Jig"]
    assert {len(row) for name, row in rows.items() if not name.startswith("part 1/1.")} == {1}


def test_filters_and_json(index: Path, model_folder: Path):
    words = ("search", "a reel", index, "--model", model_folder, "--json")
    code, said, _ = run(*words, "--where", "year>=1901", "--where", "genre=jig", "--top-k", 2)
    assert code == 0
    found = results(said)
    assert [row["rank"] for row in found] == [1, 2]
    assert {row["modality"] for row in found} <= {"abc", "text", "mtf"}
    assert all(row["metadata"]["genre"] == "jig" for row in found)
    similarities = [row["similarity"] for row in found]
    assert similarities == sorted(similarities, reverse=True)
    told = json.loads(said)
    assert (told["query"], len(told["model"])) == ("a reel", 64)
    assert results(run(*words, "--where", "genre=waltz")[1]) == []
    assert {r["modality"] for r in results(run(*words, "--modality", "mtf")[1])} == {"mtf"}
    code, said, error = run(*words, "--where", "colour=red")
    assert (code, said) == (1, "")
    assert "known: field, genre, id, modality, year" in error


def test_tables_are_filtered_as_well(index: Path, model_folder: Path):
    table = index.parent / "table.parquet"
    words = ("search", "a reel", table, "--model", model_folder, "--json", "--top-k", 50)
    found = results(run(*words, "--where", "modality!=text", "--where", "id>=part 1")[1])
    ids = [n for n in read_vectors(table).ids if n >= "part 1" and not n.endswith(".txt")]
    assert sorted(row["id"] for row in found) == ids
    assert "known: field, id, modality" in run(*words, "--where", "genre=jig")[2]


def test_an_index_is_extended_and_looked_into(index: Path, music: Path, model_folder: Path):
    (music / "part 1/1.abc").write_text(score(40), encoding="utf-8")
    (music / "new.abc").write_text(score(41), encoding="utf-8")
    table = index.parent / "table.parquet"
    assert run("embed", music, table, "--model", model_folder)[0] == 0
    said = run("index", "add", index, table)[1]
    assert said == "1 added, 1 replaced, 19 unchanged: 21 rows now\n"
    assert run("index", "delete", index, "new.abc", "part 1/1.abc")[1] == "2 rows deleted\n"
    assert run("index", "delete", index, "--where", "modality=text")[1] == "4 rows deleted\n"
    code, said, error = run("index", "delete", index, "new.abc")
    assert (code, said) == (1, "")
    assert "no row with the id 'new.abc'" in error
    code, said, _ = run("index", "info", index, "--check")
    assert code == 0
    assert "rows: 15\n" in said
    assert "properties: genre; year\n" in said
    assert json.loads(run("index", "info", index, "--json")[1])["rows"] == 15


def test_a_query_of_another_model_is_refused(index: Path, tmp_path: Path):
    code, said, error = run("search", "a reel", index, "--model", another_model(tmp_path))
    assert (code, said) == (1, "")
    assert "vectors of two models cannot be compared: search with that model" in error
    assert len(error.splitlines()) == 1


def test_what_is_wrong_is_told_in_one_line(index: Path, model_folder: Path, tmp_path: Path):
    for words, message in (
        (("index", "info", tmp_path), "not an index"),
        (("index", "build", tmp_path / "music", tmp_path / "table.parquet"), "holds other files"),
        (("index", "build", tmp_path / "i", tmp_path / "known.csv"), "not a readable Parquet"),
        (("index", "add", index, tmp_path / "missing"), "no such file or folder"),
        (("index", "delete", index), "nothing to delete"),
        (("search", "a", index, "--model", model_folder, "--where", "x"), "such as genre=jig"),
    ):
        code, said, error = run(*words)
        assert (code, said) == (1, "")
        assert message in error
        assert error.startswith("error: ")
    (index / "index.json").write_text("{")
    assert "damaged" in run("search", "a", index, "--model", model_folder)[2]


def test_a_missing_file_is_searched_for_as_words_with_a_warning(
    index: Path, model_folder: Path, caplog: pytest.LogCaptureFixture
):
    assert run("search", "misspelt.abc", index, "--model", model_folder)[0] == 0
    assert "misspelt.abc: no such file; searching for these words" in caplog.text


def test_the_tables_of_npy_files_can_be_indexed(music: Path, model_folder: Path, tmp_path: Path):
    tree = tmp_path / "tree"
    assert run("embed", music, tree, "--model", model_folder, "--format", "npy")[0] == 0
    assert run("index", "build", tmp_path / "i", tree)[1].startswith("20 added")
    hits = results(
        run("search", music / "part 0/0.abc", tmp_path / "i", "--model", model_folder, "--json")[1]
    )
    assert hits[0]["id"] == "part 0/0.abc"
    assert np.isclose(hits[0]["similarity"], 1)
