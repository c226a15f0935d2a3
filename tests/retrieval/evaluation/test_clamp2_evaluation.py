"""CLaMP 2's evaluation: what is asked in which language, and what counts as found."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from clamp3.config import EmbedConfig
from clamp3.data.summaries.languages import find_language
from clamp3.data.summaries.templates import template_languages, write_summaries
from clamp3.errors import DataError
from clamp3.files import write_jsonl
from clamp3.models.checkpoints import save_checkpoint
from clamp3.models.clamp import as_kind
from clamp3.retrieval.embedding.clamp2_vectors import (
    embed_clamp2,
    language_code,
    pieces_by_split,
    summaries_of,
)
from clamp3.retrieval.evaluation.clamp2 import evaluate_clamp2
from clamp3.retrieval.report.clamp2 import clamp2_section
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

CODES = [language.code for language in template_languages()]
WIDTH = 16


def line(number, *, language="German", english=None, **changes):
    facts = {"title": f"Tune {number}", "tags": ["jig", "cmajor"], "instruments": ["flute"]}
    return {
        "id": f"p/{number}",
        **facts,
        "summary_en": [english or f"Tune {number}, a jig."],
        "summary_nen": [{"language": language, "summary": f"Eigenes {number}."}],
        "filepaths": [f"music/{number}.abc", f"music/{number}.mtf"],
    } | changes


def test_each_piece_is_told_of_in_every_language():
    told = summaries_of("p/1", line(1))
    assert list(told) == ["en", "de", *(code for code in CODES if code != "de")]
    assert told["de"] == "Eigenes 1."
    french = write_summaries("p/1", line(1), find_language("fr")).other
    assert told["fr"] == french
    assert "flûte" in french
    own = line(1, language="Welsh")
    assert list(summaries_of("p/1", own)) == ["en", language_code("Welsh"), *CODES]


def test_where_too_little_is_known_there_is_what_is_given():
    bare = {"title": "A", "summary_en": "E.", "summary_nen": {"summary": "X."}}
    assert summaries_of("p", bare) == {"en": "E.", "not told": "X."}
    assert summaries_of("p", {"summary_nen": {"language": "Klingon", "summary": "Q."}}) == {
        "Klingon": "Q."
    }
    assert summaries_of("p", {"title": "A"}) == {}


def manifests(folder, held_out, learned):
    paths = {"test": folder / "test.jsonl", "train": folder / "train.jsonl"}
    write_jsonl(paths["test"], held_out)
    write_jsonl(paths["train"], learned)
    return paths


def test_as_many_training_pieces_as_held_out_ones_whatever_else_there_is(tmp_path):
    many = [line(number) for number in range(100, 130)]
    few = pieces_by_split(manifests(tmp_path, [line(1), line(2)], many))
    assert [len(pairs) for pairs in few.values()] == [2, 2]
    again = pieces_by_split(manifests(tmp_path, [line(1), line(2)], [*many[::-1], line(99)]))
    assert {pair.id for pair in again["train"]} <= {pair.id for pair in few["train"]} | {"p/99"}
    with pytest.raises(DataError, match=r"test\.jsonl: no pieces; expected held-out ones"):
        pieces_by_split(manifests(tmp_path, [], many))


def vectors(folder, split, rows, modality, fields=None):
    """`rows`: (id, axis); a vector along the axis."""
    matrix = np.eye(WIDTH, dtype=np.float32)[[axis for _, axis in rows]]
    labels = {} if fields is None else {"field": fields}
    table = Vectors([name for name, _ in rows], matrix, Origin("f", "s", modality, split), labels)
    write_vectors(folder / split / f"{modality}.parquet", table)


@pytest.fixture
def evaluated(tmp_path):
    """Four held-out pieces, two of one English summary; French queries point the wrong way."""
    lines = [line(0), line(1), line(2, english="Same."), line(3, english="Same.")]
    lines[1]["summary_nen"] = [{"language": "French", "summary": "Mien."}]
    paths = manifests(tmp_path, lines, [])
    for model in ("clamp2", "clamp3"):
        folder = tmp_path / "vectors" / model
        music = [(f"p/{n}", n) for n in range(4)]
        vectors(folder, "test", music, "abc")
        vectors(folder, "test", music[:3], "mtf")
        asked = [(f"p/{n}", code) for n in range(4) for code in ("en", "de", "fr")]
        # p/2 and p/3 say the same, so each finding the other is right
        axis = {0: 0, 1: 1, 2: 3, 3: 2}
        rows = [(name, axis[int(name[2:])] + (code == "fr") * 4) for name, code in asked]
        vectors(folder, "test", rows, "text", [code for _, code in asked])
    return evaluate_clamp2(
        tmp_path / "vectors", paths, tmp_path / "clamp2.json", hits_at=[1, 2]
    ), tmp_path / "clamp2.json"


def test_kinds_of_queries_and_pieces_of_one_summary(evaluated):
    report, path = evaluated
    assert json.loads(path.read_text()) == report
    assert report["pieces"] == {
        "test": {"pieces": 4, "distinct": 3},
        "train": {"pieces": 0, "distinct": 0},
    }
    found = report["models"]["clamp2"]["test"]
    queries = {name: row["queries"] for name, row in found.items()}
    assert queries == {
        "english_to_abc": 4,
        "english_to_mtf": 4,
        "other_to_abc": 4,  # German of three, French of p/1
        "other_to_mtf": 4,
        "unseen_to_abc": 4,
        "unseen_to_mtf": 4,
    }
    assert found["english_to_abc"]["mrr"] == found["english_to_abc"]["hit@1"] == 1
    languages = found["other_to_abc"]["languages"]
    assert {name: row["queries"] for name, row in languages.items()} == {"French": 1, "German": 3}
    assert languages["German"]["mrr"] == 1
    # French vectors are level with every score; for p/2 and p/3 the two right ones do not compete
    french = found["unseen_to_abc"]["languages"]["French"]
    level = [np.mean([1 / place for place in range(1, count + 1)]) for count in (4, 3, 3)]
    assert french["mrr"] == pytest.approx(np.mean(level), abs=1e-6)
    assert found["unseen_to_abc"]["languages"]["German"]["mrr"] == 1
    assert set(report["models"]) == {"clamp2", "clamp3"}


def test_the_report_shows_both_models_beside_chance(evaluated):
    _, path = evaluated
    html = str(clamp2_section(path))
    for text in ("CLaMP 2", "held-out", "its other language", "4 held-out pieces (3 distinct"):
        assert text in html
    assert html.count("1.000 [") == 4
    assert "French" in html
    path.write_text('{"models": {}}')
    with pytest.raises(DataError, match="not an evaluation of CLaMP 2"):
        clamp2_section(path)


def test_without_summaries_there_is_nothing_to_evaluate(tmp_path):
    bare = {"summary_en": None, "summary_nen": None, "tags": [], "title": None}
    paths = manifests(tmp_path, [line(0, **bare)], [])
    folder = tmp_path / "vectors/clamp2"
    vectors(folder, "test", [("p/0", 0)], "abc")
    vectors(folder, "test", [("p/0", 0)], "mtf")
    vectors(folder, "test", [], "text", [])
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate_clamp2(tmp_path / "vectors", paths, tmp_path / "o.json", hits_at=[1])


def test_from_a_model_to_figures(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    for number in range(6):
        bars = "C4 z4|\n" * (number + 1)
        (tmp_path / f"music/{number}.abc").write_text(f"M:4/4\nL:1/8\nK:C\nV:1\n[V:1]{bars}")
        notes = "".join(f"note_on 0 0 {60 + n} 64\n" for n in range(number + 1))
        (tmp_path / f"music/{number}.mtf").write_text(f"ticks_per_beat 480\n{notes}")
    (tmp_path / "music/5.abc").write_text("")
    save_checkpoint(as_kind(tiny.model, "clamp2"), tmp_path / "model", tokenizer=tiny.tokenizer)
    paths = manifests(tmp_path, [line(n) for n in range(3)], [line(n) for n in range(3, 6)])
    settings = EmbedConfig(batch_tokens=64, threads=1)
    embed_clamp2({"clamp2": tmp_path / "model"}, paths, tmp_path / "out", settings, device="cpu")
    table = pq.read_table(tmp_path / "out/clamp2/test/text.parquet")
    assert table.column("field").to_pylist()[:6] == ["en", "de", *CODES[1:]]
    assert table.num_rows == 18
    rejected = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert [(row["id"], row["kind"]) for row in rejected] == [("p/5", "empty_file")]
    report = evaluate_clamp2(tmp_path / "out", paths, tmp_path / "f.json", hits_at=[1])
    found = report["models"]["clamp2"]
    assert found["test"]["unseen_to_mtf"]["queries"] == 12
    assert found["train"]["english_to_abc"]["references"] == 2


def test_a_run_that_fails_leaves_no_tables(tiny, tmp_path):
    save_checkpoint(as_kind(tiny.model, "clamp2"), tmp_path / "model", tokenizer=tiny.tokenizer)
    paths = manifests(tmp_path, [line(0)], [line(1)])  # of files that are not there
    settings = EmbedConfig(batch_tokens=64, threads=1)
    models = {"clamp2": tmp_path / "model"}
    with pytest.raises(DataError):
        embed_clamp2(models, paths, tmp_path / "out", settings, device="cpu")
    assert not (tmp_path / "out").exists()
