"""Held-out figures of one model and of two side by side, against rankings done by hand."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from retrieval.folders import tables_in

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import write_jsonl
from clamp3.retrieval.evaluation.comparison import (
    compare_models,
    read_evaluation,
    summary,
    write_tables,
)
from clamp3.retrieval.evaluation.held_out import evaluate_model
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

SETTINGS = EvaluateConfig(text_field="analysis", hits_at=(1, 5), num_abc=None, num_mtf=None)
WIDTH = 12
EMPTY = Origin("", "", "", "")


def ids(count: int, collection: str = "pdmx") -> list[str]:
    return [f"{collection}/{n:02d}" for n in range(count)]


def matrix(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32)


def save(folder: Path, modality: str, vectors: Vectors | None = None, **origin: str) -> None:
    collection = origin.get("collection", "pdmx")
    if vectors is None:
        seed = sum(map(ord, collection + modality))
        vectors = Vectors(ids(10, collection), matrix(10, seed), Origin("m", "m", modality, ""))
    said = {"fingerprint": "m", "space": "m", "modality": modality}
    vectors = replace(vectors, origin=Origin(**(said | {"collection": collection} | origin)))
    write_vectors(folder / collection / f"{modality}.parquet", vectors)


def texts(collection: str, fields: tuple[str, ...]) -> Vectors:
    names = [name for name in ids(10, collection) for _ in fields]
    labels = {"field": list(fields) * 10}
    return Vectors(names, matrix(len(names), 77), EMPTY, labels)


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """Random vectors: 10 texts of two fields, 10 scores, 10 performances, 4 recordings."""
    folder = tmp_path / "clamp3"
    save(folder, "text", texts("pdmx", ("analysis", "scene")))
    save(folder, "abc")
    save(folder, "mtf")
    save(folder, "audio", Vectors(ids(10)[3:7], matrix(4, 5), EMPTY))
    save(folder, "text", texts("wikimt_x", ("background", "scene")), collection="wikimt_x")
    save(folder, "abc", collection="wikimt_x")
    return folder


@pytest.fixture
def manifests(tmp_path: Path) -> list[Path]:
    """What is held out: all of the above."""
    held = {
        "pdmx-abc-test": ids(10),
        "pdmx-mtf-test": ids(10),
        "pdmx-audio-test": ids(10)[3:7],
        "wikimt_x-abc-test": ids(10, "wikimt_x"),
    }
    for name, pieces in held.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": piece} for piece in pieces])
    return [tmp_path / f"{name}.jsonl" for name in held]


@pytest.fixture
def evaluated(embeddings: Path, manifests: list[Path], tmp_path: Path) -> Callable[..., dict]:
    """`evaluate_model` of the above, or of other folders or manifests."""

    def evaluate(
        folders: Sequence[Path] = (embeddings,), held: Sequence[Path] = tuple(manifests)
    ) -> dict:
        return evaluate_model(tables_in(*folders), held, tmp_path / "out.json", SETTINGS)

    return evaluate


def plain_mrr(queries: Vectors, references: Vectors) -> float:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))

    reciprocal = []
    for name, query in zip(queries.ids, queries.embeddings, strict=True):
        if name in references.ids:
            scores = {
                other: cosine(query, vector)
                for other, vector in zip(references.ids, references.embeddings, strict=True)
            }
            reciprocal.append(1 / (1 + sum(s > scores[name] for s in scores.values())))
    return float(np.mean(reciprocal))


def test_every_direction_of_every_collection(evaluated: Callable, tmp_path: Path):
    found = evaluated()
    assert list(found["collections"]) == ["pdmx", "wikimt_x"]
    assert sorted(found["collections"]["pdmx"]) == sorted(
        f"{a}_to_{b}"
        for a in ("text", "abc", "mtf", "audio")
        for b in ("text", "abc", "mtf", "audio")
        if a != b
    )
    assert list(found["collections"]["wikimt_x"]) == [
        "background_to_abc",
        "scene_to_abc",
        "abc_to_background",
        "abc_to_scene",
    ]
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == found


def test_the_figures_are_those_of_a_plain_ranking(evaluated: Callable):
    found = evaluated()["collections"]["pdmx"]
    asked = texts("pdmx", ("analysis", "scene")).take(range(0, 20, 2))
    scores = Vectors(ids(10), matrix(10, sum(map(ord, "pdmxabc"))), EMPTY)
    sounds = Vectors(ids(10)[3:7], matrix(4, 5), EMPTY)
    assert found["text_to_abc"]["mrr"] == pytest.approx(plain_mrr(asked, scores), abs=1e-6)
    assert found["audio_to_abc"]["mrr"] == pytest.approx(plain_mrr(sounds, scores), abs=1e-6)
    assert found["abc_to_audio"]["mrr"] == pytest.approx(plain_mrr(scores, sounds), abs=1e-6)
    sides = ("query", "reference", "queries", "references", "text_field")
    assert [found["abc_to_audio"][name] for name in sides] == ["abc", "audio", 4, 4, None]
    assert [found["audio_to_abc"][name] for name in sides] == ["audio", "abc", 4, 10, None]
    assert [found["text_to_abc"][name] for name in sides] == ["text", "abc", 10, 10, "analysis"]
    assert found["text_to_abc"]["chance"]["hit@5"] == 0.5
    assert found["audio_to_abc"]["chance"]["mrr"] == pytest.approx(0.292897)


def test_an_adapters_folder_stands_before_its_models(
    evaluated: Callable, embeddings: Path, tmp_path: Path
):
    save(tmp_path / "lora", "abc", Vectors(ids(10), matrix(10, 1), EMPTY), fingerprint="x")
    plain, adapted = evaluated(), evaluated([tmp_path / "lora", embeddings])
    assert adapted["fingerprints"] == plain["fingerprints"] | {"abc": "x"}
    first, second = plain["collections"]["pdmx"], adapted["collections"]["pdmx"]
    assert first["text_to_mtf"] == second["text_to_mtf"]
    assert first["text_to_abc"] != second["text_to_abc"]


def test_vectors_of_two_models_are_refused(evaluated: Callable, embeddings: Path, tmp_path: Path):
    save(embeddings, "mtf", space="other")
    with pytest.raises(DataError, match="come from different models"):
        evaluated()
    assert not (tmp_path / "out.json").exists()


def test_pieces_that_were_trained_on_are_no_evidence(
    evaluated: Callable, manifests: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_jsonl(manifests[0], [{"id": name} for name in [*ids(10)[2:6], "pdmx/unseen"]])
    row = evaluated()["collections"]["pdmx"]["mtf_to_abc"]
    assert (row["queries"], row["references"]) == (4, 4)
    assert "1 of 5 held-out pieces have no vector" in caplog.text
    with pytest.raises(DataError, match="pieces of split train"):
        evaluated(held=[tmp_path / "pdmx-abc-train.jsonl"])


def test_collections_without_a_manifest_are_left_out(evaluated: Callable, manifests: list[Path]):
    assert list(evaluated(held=manifests[:3])["collections"]) == ["pdmx"]


def test_nothing_to_rank(evaluated: Callable, tmp_path: Path):
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluated([tmp_path])
    save(tmp_path, "abc")
    save(tmp_path, "mtf", Vectors([], np.zeros((0, WIDTH)), EMPTY))
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluated([tmp_path])


def test_a_table_that_is_gone_is_told(embeddings: Path, manifests: list[Path], tmp_path: Path):
    tables = [tmp_path / "lora/pdmx/abc.parquet", *tables_in(embeddings)]
    with pytest.raises(DataError, match=r"lora/pdmx/abc\.parquet"):
        evaluate_model(tables, manifests, tmp_path / "out.json", SETTINGS)


def test_a_ranking_done_by_hand(tmp_path: Path):
    """Three texts, three scores: right at once, level with another, and last; one has no text."""
    scores = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    asked = np.array([[1.0, 0.1, 0], [0, 1, 0.1], [0.9, 0, 0.5]])
    save(tmp_path, "abc", Vectors(["pdmx/a", "pdmx/b", "pdmx/c", "pdmx/d"], scores, EMPTY))
    fields = {"field": ["analysis"] * 4}
    names = ["pdmx/a", "pdmx/b", "pdmx/c", "pdmx/e"]
    save(tmp_path, "text", Vectors(names, np.concatenate([asked, asked[:1]]), EMPTY, fields))
    held = [{"id": f"pdmx/{name}", "language": "English"} for name in "abcdef"]
    write_jsonl(tmp_path / "pdmx-abc-test.jsonl", held)
    paths = {"ranks": tmp_path / "ranks.parquet", "unmatched": tmp_path / "unmatched.parquet"}
    settings = EvaluateConfig(text_field="analysis", hits_at=(1, 3), num_abc=None, num_mtf=None)
    found = evaluate_model(
        tables_in(tmp_path),
        [tmp_path / "pdmx-abc-test.jsonl"],
        tmp_path / "out.json",
        settings,
        **paths,
    )
    row = found["collections"]["pdmx"]["text_to_abc"]
    # Places 1; 1 or 2 (b and c are level); 3 or 4 (a and d stand before b and c).
    assert row["mrr"] == pytest.approx((1 + 3 / 4 + (1 / 3 + 1 / 4) / 2) / 3, abs=1e-6)
    assert (row["hit@1"], row["hit@3"]) == pytest.approx(((1 + 0.5) / 3, 2.5 / 3), abs=1e-6)
    gains = [1, (1 + 1 / math.log2(3)) / 2, (1 / math.log2(4) + 1 / math.log2(5)) / 2]
    assert row["ndcg@10"] == pytest.approx(np.mean(gains), abs=1e-6)
    assert (row["median_rank"], row["mean_rank"]) == (1.5, 2)
    assert row["optimistic"]["mrr"] == pytest.approx((1 + 1 + 1 / 3) / 3, abs=1e-6)
    assert row["chance"]["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=1e-6)
    assert row["chance"]["hit@3"] == 0.75
    assert (row["queries"], row["references"]) == (3, 4)
    assert row["counts"] == {"unmatched_queries": 1, "unmatched_references": 1}
    low, high = row["intervals"]["mrr"]
    assert low <= row["mrr"] <= high
    assert "languages" not in row
    assert found["coverage"]["pdmx"] == {
        "text": {"held_out": 6, "embedded": 4},
        "abc": {"held_out": 6, "embedded": 4},
    }
    ranks = pq.read_table(paths["ranks"]).to_pylist()
    asked_first = [each for each in ranks if each["direction"] == "text_to_abc"]
    assert [each["rank"] for each in asked_first] == [1, 1.5, 3.5]
    assert [each["query"] for each in asked_first] == ["pdmx/a", "pdmx/b", "pdmx/c"]
    assert {each["language"] for each in ranks} == {"English"}
    lone = [tuple(each.values()) for each in pq.read_table(paths["unmatched"]).to_pylist()]
    assert lone == [
        ("pdmx", "", "", "abc", "pdmx/e", "no_vector"),
        ("pdmx", "", "", "abc", "pdmx/f", "no_vector"),
        ("pdmx", "text_to_abc", "query", "text", "pdmx/e", "no_partner"),
        ("pdmx", "text_to_abc", "reference", "abc", "pdmx/d", "no_partner"),
        ("pdmx", "abc_to_text", "query", "abc", "pdmx/d", "no_partner"),
        ("pdmx", "abc_to_text", "reference", "text", "pdmx/e", "no_partner"),
    ]


def test_figures_by_language_are_of_the_same_gallery(evaluated: Callable, manifests: list[Path]):
    told = [{"id": name, "language": "Finnish" if name < "pdmx/04" else ""} for name in ids(10)]
    write_jsonl(manifests[0], told)
    found = evaluated(held=manifests[:1])["collections"]["pdmx"]["text_to_abc"]
    parts = found["languages"]
    assert {name: part["queries"] for name, part in parts.items()} == {"Finnish": 4, "not told": 6}
    assert all(part["references"] == 10 for part in parts.values())
    mean = (4 * parts["Finnish"]["mrr"] + 6 * parts["not told"]["mrr"]) / 10
    assert mean == pytest.approx(found["mrr"], abs=2e-6)
    assert parts["Finnish"]["intervals"]["mrr"] != found["intervals"]["mrr"]


def test_equal_inputs_give_equal_bytes(embeddings: Path, manifests: list[Path], tmp_path: Path):
    for name in ("a", "b"):
        evaluate_model(
            tables_in(embeddings),
            manifests if name == "a" else manifests[::-1],
            tmp_path / f"{name}.json",
            SETTINGS,
            ranks=tmp_path / f"{name}-ranks.parquet",
            unmatched=tmp_path / f"{name}-lone.parquet",
        )
    for file in (".json", "-ranks.parquet", "-lone.parquet"):
        assert (tmp_path / f"a{file}").read_bytes() == (tmp_path / f"b{file}").read_bytes()


@pytest.fixture
def both(embeddings: Path, manifests: list[Path], tmp_path: Path) -> dict:
    """Evaluations of a random model, and of one whose scores lie on their texts."""
    asked = texts("pdmx", ("analysis", "scene")).take(range(0, 20, 2))
    save(tmp_path / "lora", "abc", asked.take(range(10)), fingerprint="adapted")
    folders = {"clamp3": [embeddings], "lora": [tmp_path / "lora", embeddings]}
    for name, folder in folders.items():
        out, ranks = tmp_path / f"{name}.json", tmp_path / f"{name}.parquet"
        evaluate_model(tables_in(*folder), manifests, out, SETTINGS, ranks=ranks)
    return {
        "baseline": tmp_path / "clamp3.json",
        "adapted": tmp_path / "lora.json",
        "out": tmp_path / "c.json",
        "ranks": (tmp_path / "clamp3.parquet", tmp_path / "lora.parquet"),
    }


def test_two_models_side_by_side(both: dict, tmp_path: Path):
    found = compare_models(**both, names=("A", "B|C"))
    baseline = read_evaluation(both["baseline"])["collections"]["pdmx"]
    row = found["collections"]["pdmx"]["text_to_abc"]
    assert row["baseline"]["mrr"] == baseline["text_to_abc"]["mrr"] < 1
    assert row["adapted"]["mrr"] == 1
    assert row["difference"]["mrr"] == pytest.approx(1 - row["baseline"]["mrr"], abs=1e-6)
    assert row["difference"]["hit@1"] > 0
    low, high = row["difference"]["intervals"]["mrr"]
    assert 0 < low < row["difference"]["mrr"] < high < 1
    assert row["difference"]["p_values"]["mrr"] < 0.05
    same = found["collections"]["pdmx"]["text_to_mtf"]["difference"]  # no change at all
    assert same["mrr"] == 0
    assert same["p_values"]["mrr"] == 1
    assert "adapted" not in found["collections"]["pdmx"]["text_to_audio"]  # no adapter has a say
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8")) == found


def test_the_p_value_is_that_of_exchanging_the_models_query_by_query(both: dict):
    row = compare_models(**both)["collections"]["pdmx"]["text_to_abc"]
    ranks = [pq.read_table(path).to_pandas() for path in both["ranks"]]
    own = [
        table[(table.collection == "pdmx") & (table.direction == "text_to_abc")] for table in ranks
    ]
    change = own[1].reciprocal_rank.to_numpy() - own[0].reciprocal_rank.to_numpy()
    signs = np.array(list(itertools.product((-1, 1), repeat=len(change))))
    exact = np.mean(np.abs(signs @ change) >= abs(change.sum()) - 1e-9)
    assert row["difference"]["p_values"]["mrr"] == pytest.approx(exact, abs=0.01)


def test_the_tables_of_two_models(both: dict, tmp_path: Path):
    found = compare_models(**both, names=("A", "B|C"))
    row = found["collections"]["pdmx"]["text_to_abc"]
    write_tables(found, tmp_path / "c.md", tmp_path / "c.tsv")
    table = (tmp_path / "c.md").read_text(encoding="utf-8").splitlines()
    assert len({line.replace("\\|", "").count("|") for line in table if line.startswith("|")}) == 1
    (line,) = [line for line in table if line.startswith("| PDMX, text → abc |")]
    assert f"| {row['baseline']['mrr']:.4f} [" in line
    assert f"| {row['difference']['mrr']:+.4f} [+0." in line
    assert "| 1.0000 [" in line
    assert sum(line.startswith("| ") for line in table) == 2 + 12 + 4
    rows = [line.split("\t") for line in (tmp_path / "c.tsv").read_text().splitlines()]
    assert {len(cells) for cells in rows} == {len(rows[0])}
    (cells,) = [
        dict(zip(rows[0], cells, strict=True))
        for cells in rows[1:]
        if cells[:2] == ["PDMX, text → abc", "B|C"]
    ]
    assert (cells["mrr"], cells["queries"], cells["hit_at"]) == ("1", "10", "5")
    assert float(cells["difference"]) == pytest.approx(row["difference"]["mrr"], abs=1e-5)


def test_the_summary_has_chance_beside_every_figure(both: dict):
    compare_models(**both)
    lines = summary(both["out"])
    baseline = read_evaluation(both["baseline"])["collections"]["pdmx"]["text_to_abc"]
    (line,) = [line for line in lines if "PDMX, text → abc" in line]
    assert f"MRR {baseline['mrr']:.3f} (0.293)" in line
    assert f"Hit@5 {baseline['hit@5']:.2f} (0.50)  of 10" in line
    assert f"CLaMP 3 + LoRA: MRR 1.000 (+{1 - baseline['mrr']:.3f}, p 0.00" in line
    (line,) = [line for line in lines if "PDMX, text → audio" in line]
    assert line.endswith("of 4")
    assert any("text (scene) → abc" in line for line in lines)
    assert len(lines) == 1 + 12 + 4


def test_models_judged_on_other_pieces_are_not_compared(
    both: dict, embeddings: Path, manifests: list[Path]
):
    other = Vectors([*ids(9), "pdmx/x"], matrix(10, 1), EMPTY)
    save(embeddings, "abc", other)
    save(embeddings, "text", replace(texts("pdmx", ("analysis",)), ids=other.ids))
    write_jsonl(manifests[0], [{"id": name} for name in other.ids])
    evaluate_model(
        tables_in(embeddings), manifests, both["adapted"], SETTINGS, ranks=both["ranks"][1]
    )
    with pytest.raises(DataError, match="not of the same queries"):
        compare_models(**both)
    save(embeddings, "abc", Vectors(ids(9), matrix(9, 1), EMPTY))
    evaluate_model(
        tables_in(embeddings), manifests, both["adapted"], SETTINGS, ranks=both["ranks"][1]
    )
    with pytest.raises(DataError, match="queries is 10 in one evaluation and 9 in the other"):
        compare_models(**both)
    assert not both["out"].exists()


def test_another_file_is_no_evaluation(tmp_path: Path):
    for content in ("", "[]", '{"collections": {}}'):
        (tmp_path / "x.json").write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match="not the results of an evaluation"):
            read_evaluation(tmp_path / "x.json")
    with pytest.raises(DataError, match="not the results"):
        read_evaluation(tmp_path / "missing.json")
