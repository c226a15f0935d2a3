"""`clamp3 evaluate` and `clamp3 score` on tables and folders, and the originals' results."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from retrieval.commands import run

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.evaluation.command import Task, evaluate
from clamp3.retrieval.evaluation.intervals import mean_intervals
from clamp3.retrieval.evaluation.similarity import score
from clamp3.retrieval.vector_files import read_embeddings
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

ORIGIN = Origin("model-and-adapter", "model", "text", "")


def table(path: Path, rows: dict[str, list[float]], origin: Origin = ORIGIN, **labels) -> Path:
    write_vectors(path, Vectors(list(rows), np.array(list(rows.values())), origin, labels))
    return path


def tree(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
    return folder


def noisy(tmp_path: Path, name: str, noise: float, songs: int = 40) -> tuple[Path, Path]:
    """Tables of a model whose queries are its references with this much noise."""
    draws = np.random.default_rng(0)
    music = draws.standard_normal((songs, 12))
    texts = np.repeat(music, 2, axis=0) + noise * draws.standard_normal((2 * songs, 12))
    origin = Origin(name, name, "text", "")
    queries = {f"s{i // 2}.v{i % 2}.txt": row for i, row in enumerate(texts)}
    references = {f"s{i}.abc": row for i, row in enumerate(music)}
    return (
        table(tmp_path / f"{name}-q.parquet", queries, origin),
        table(tmp_path / f"{name}-r.parquet", references, origin),
    )


def evaluated(place: Path, *words: object) -> tuple[dict, str]:
    """The report that the command writes, and what it says."""
    done = run("evaluate", *words, "--json", place / "report.json")
    assert done.exit_code == 0, done.output
    return json.loads((place / "report.json").read_text(encoding="utf-8")), done.output


def found_intervals_hold(report: dict) -> bool:
    """Whether each figure lies in its interval."""
    figures = report["figures"][report["ties"]]
    ends = {name: report["intervals"][name] for name in figures}
    return all(low <= figures[name] <= high for name, (low, high) in ends.items())


@pytest.fixture
def originals(goldens: Path, tmp_path: Path) -> tuple[Path, dict]:
    """The recorded feature folders `query` and `ref`, and what the originals print of them."""
    features = np.load(goldens / "models/retrieval_features.npz")
    names = {name.removeprefix("cache|").replace("|", "/"): name for name in features.files}
    tree(tmp_path / "cache", {path: features[name] for path, name in names.items()})
    text = (goldens / "models/retrieval.json").read_text(encoding="utf-8")
    return tmp_path / "cache", json.loads(text)


def test_the_originals_retrieval(originals: tuple[Path, dict], tmp_path: Path):
    folder, expected = originals
    ranks = tmp_path / "ranks.parquet"
    words = ["--ranks", ranks, "--ties", "optimistic"]
    found, said = evaluated(tmp_path, folder / "query", f"{folder}/ref/", *words)
    for name in ("MRR", "Hit@1", "Hit@10", "Hit@100"):
        exact = expected["eval"]["exact"][name]
        assert found["figures"]["optimistic"][name.lower()] == pytest.approx(exact, abs=1e-6)
    rows = pq.read_table(ranks).to_pylist()
    of_originals = {r["query"]: (r["reference"], r["rank"]) for r in expected["eval"]["ranks"]}
    ours = {
        f"query/{row['query']}.npy": (f"ref/{row['reference']}.npy", row["rank"]) for row in rows
    }
    assert ours == of_originals
    assert found["figures"]["mean"]["mrr"] < found["figures"]["optimistic"]["mrr"]
    level = [row for row in rows if row["tied"] > 1]
    assert {row["query"] for row in level} == {"tie_a", "tie_b"}
    fair = evaluate(folder / "query", folder / "ref", Task())
    by_hand = [1 / row["rank"] for row in rows if row["tied"] == 1]
    assert {row["rank"] + row["tied"] - 1 for row in level} == {2}  # places 1 and 2 shared
    by_hand += [(1 + 1 / 2) / 2] * len(level)
    assert fair["figures"]["mean"]["mrr"] == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert "0.9105" in said


def test_the_originals_similarities(originals: tuple[Path, dict]):
    folder, expected = originals
    found = score(folder / "query", folder / "ref")
    recorded = {row["query"]: row["similarity"] for row in expected["score_pairwise"]["pairs"]}
    ours = {f"query/{pair['first']}.npy": pair["similarity"] for pair in found["pairs"]}
    assert ours == pytest.approx(recorded, abs=2e-6)
    assert f"{found['pairwise_similarity']:.4f}" == "0.6431"
    done = run("score", folder / "query", folder / "ref", "--group")
    assert "cosine of the two means        0.8166" in done.output
    assert "2 × 24" in done.output  # too few for a Fréchet distance


def test_unmatched_files_are_counted_as_where_the_original_stops(originals: tuple[Path, dict]):
    folder, expected = originals
    (folder / "ref/song00.npy").unlink()
    found = evaluate(folder / "query", folder / "ref", Task())
    assert found["unmatched"] == {"queries": ["song00"], "references": []}
    assert found["counts"]["matched_queries"] == 34
    similarity = score(folder / "query", folder / "ref")
    stated = expected["score_unmatched_answer_y"]["stdout"][-1]
    assert f"{similarity['pairwise_similarity']:.3f}" == stated.rsplit(" ", 1)[1]
    assert similarity["unmatched"] == {"first": ["song00"], "second": []}


def test_references_without_a_query_stay_in_the_gallery_unless_asked(tmp_path: Path):
    queries = table(tmp_path / "q.parquet", {"a.txt": [1, 0.1], "lost.txt": [1, 0]})
    references = table(tmp_path / "r.parquet", {"x.abc": [1, 0.1], "a.abc": [1, 0]})
    found = evaluate(queries, references, Task(hits_at=(1,)))
    assert found["figures"]["mean"]["mrr"] == 0.5
    assert found["unmatched"] == {"queries": ["lost.txt"], "references": ["x.abc"]}
    assert found["chance"]["mrr"] == 0.75
    assert found["intervals"]["mrr"] is None
    alone = evaluate(queries, references, Task(hits_at=(1,), matched_only=True))
    assert alone["figures"]["mean"]["mrr"] == 1
    assert alone["unmatched"] == found["unmatched"]


def test_keys_are_names_folders_ids_or_a_column(tmp_path: Path):
    queries = table(
        tmp_path / "q.parquet",
        {"b. 1/s.v1.txt": [1, 0], "c/t.txt": [0, 1]},
        composer=["Bach", "Clara"],
    )
    references = table(
        tmp_path / "r.parquet",
        {"c/t.abc": [1, 0], "b. 1/s.abc": [1, 0.1], "b. 1/u.abc": [0.1, 1]},
        composer=["Clara", "Bach", "Clara"],
    )
    ranks = tmp_path / "ranks.parquet"

    def best(by: str) -> list[tuple]:
        evaluate(queries, references, Task(by=by), ranks=ranks)
        rows = pq.read_table(ranks).to_pylist()
        return [(row["key"], row["reference"], row["right"], row["rank"]) for row in rows]

    assert best("name") == [("b. 1/s", "b. 1/s.abc", 1, 2), ("c/t", "c/t.abc", 1, 3)]
    assert best("folder") == [("b. 1", "b. 1/s.abc", 2, 2), ("c", "c/t.abc", 1, 3)]
    assert best("composer") == [("Bach", "b. 1/s.abc", 1, 2), ("Clara", "b. 1/u.abc", 2, 1)]
    with pytest.raises(DataError, match="no pairs by id: the keys of queries are"):
        best("id")
    with pytest.raises(ConfigError, match=r"no such column .* possible are name, folder, id, comp"):
        best("composr")


def test_files_that_cannot_be_read_are_listed_and_the_rest_is_done(tmp_path: Path):
    good = {f"d/s{i}": np.eye(3, dtype=np.float64)[i : i + 1] for i in range(3)}
    folder = tree(tmp_path / "q", good | {
        "wide": np.ones((1, 5)), "temporal": np.ones((1, 4, 3)), "nan": np.full((1, 3), np.nan),
        "words": np.array(["a"]), "whole": np.ones(3, dtype=np.int16),
    })  # fmt: skip
    (folder / "cut.npy").write_bytes((folder / "d/s0.npy").read_bytes()[:90])
    (folder / "notes.txt").write_text("not a vector")
    read = read_embeddings(folder)
    assert read.vectors.ids == ["d/s0", "d/s1", "d/s2", "whole"]
    assert [name for name, _ in read.refused] == [
        "cut.npy", "nan.npy", "temporal.npy", "wide.npy", "words.npy",
    ]  # fmt: skip
    found, _ = evaluated(tmp_path, folder, tree(tmp_path / "r", good))
    assert found["figures"]["mean"]["mrr"] == 1
    assert found["counts"]["refused_queries"] == 5
    assert "5 wide, most are 3" in json.dumps(found["refused"])


def test_each_kind_of_query_has_its_figures_in_the_same_gallery(tmp_path: Path):
    rows = {"a.en": [1, 0.1], "a.zh": [0.3, 1], "b.en": [0.1, 1], "b.zh": [1, 0.3]}
    words = ["en", "zh"] * 2
    queries = table(tmp_path / "q.parquet", rows, language=words)
    references = table(tmp_path / "r.parquet", {"a": [1, 0], "b": [0, 1], "c": [-1, 0]})
    found, said = evaluated(tmp_path, queries, references, "--per", "language")
    parts = found["per"]["parts"]
    assert list(parts) == ["en", "zh"]
    assert [parts[name]["figures"]["mean"]["mrr"] for name in words[:2]] == [1, 0.5]
    assert found["figures"]["mean"]["mrr"] == 0.75
    assert parts["en"]["chance"] == found["chance"]
    assert "zh" in said
    assert "no such column" in run("evaluate", queries, references, "--per", "tongue").output


def test_two_models_on_the_same_pairs(tmp_path: Path):
    weak, strong = noisy(tmp_path, "weak", 2.0), noisy(tmp_path, "strong", 0.5)
    found, said = evaluated(tmp_path, *weak, "--against", *strong)
    first = (tmp_path / "report.json").read_bytes()
    evaluated(tmp_path, *weak, "--against", *strong)
    assert (tmp_path / "report.json").read_bytes() == first
    versus, own = found["against"], found["figures"]["mean"]["mrr"]
    other = evaluate(*strong, Task())["figures"]["mean"]["mrr"]
    assert versus["mrr"] == [own, other]
    assert versus["difference"] == pytest.approx(other - own, abs=2e-6)
    assert 0 < versus["interval"][0] < versus["difference"] < versus["interval"][1]
    assert versus["p_value"] == 1e-4
    assert f"difference {versus['difference']:+.4f}" in said
    assert evaluate(*weak, Task(), against=weak)["against"]["p_value"] == 1


def test_the_paired_interval_is_over_songs_not_over_their_texts(tmp_path: Path):
    models = noisy(tmp_path, "weak", 2.0), noisy(tmp_path, "strong", 1.5)
    ranks = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    versus = evaluate(*models[0], Task(), ranks=ranks[0], against=models[1])["against"]
    evaluate(*models[1], Task(), ranks=ranks[1])
    first, second = (pq.read_table(path)["reciprocal_rank"].to_numpy() for path in ranks)
    songs = (second - first).reshape(40, 2).mean(axis=1)  # each has two texts
    low, high = mean_intervals(songs[:, None], np.arange(40))[0]
    assert versus["interval"] == pytest.approx([low, high], abs=1e-6)


def test_two_models_are_compared_on_what_both_have(tmp_path: Path):
    weak, strong = noisy(tmp_path, "weak", 2.0), noisy(tmp_path, "strong", 0.5)
    queries = read_embeddings(strong[0]).vectors
    arrays = zip(queries.ids[10:], queries.embeddings[10:], strict=True)
    folder = tree(tmp_path / "tree", {name[: -len(".txt")]: row[None] for name, row in arrays})
    music = read_embeddings(strong[1]).vectors
    arrays = zip(music.ids[::-1], music.embeddings[::-1], strict=True)
    others = tree(tmp_path / "music", {name[: -len(".abc")]: row[None] for name, row in arrays})
    versus = evaluate(*weak, Task(), against=(folder, others))["against"]
    assert found_intervals_hold(evaluate(folder, others, Task(hits_at=(1, 10))))
    assert (versus["common_queries"], versus["common_references"]) == (70, 40)
    back = evaluate(folder, others, Task(), against=weak)["against"]
    assert back["mrr"] == versus["mrr"][::-1]
    assert back["difference"] == -versus["difference"]
    lone = table(tmp_path / "lone.parquet", {"elsewhere": [0.0] * 12})
    with pytest.raises(DataError, match="nothing in common"):
        evaluate(*weak, Task(), against=(lone, weak[1]))


def test_models_and_widths_that_cannot_be_compared(tmp_path: Path):
    queries = table(tmp_path / "q.parquet", {"a": [1, 0]})
    other = table(tmp_path / "r.parquet", {"a": [1, 0]}, Origin("x", "another", "abc", ""))
    done = run("evaluate", queries, other)
    assert done.exit_code == 1
    assert "embed both sides with one model" in done.output
    wide = tree(tmp_path / "wide", {"a": np.ones((1, 3))})
    assert "2 wide on one side and 3 on the other" in run("score", queries, wide).output
    assert "no such file" in run("score", queries, tmp_path / "no").output
    done = run("evaluate", queries, queries, "--hits-at", "x")
    assert "expected ranks parted by commas" in done.output
    flat = tree(tmp_path / "flat", {"a": np.ones((1, 2)), "b": np.ones((1, 2))})
    assert "no pairs by folder" in run("evaluate", flat, flat, "--by", "folder").output


def test_a_collapsed_model_scores_chance_in_everything(tmp_path: Path):
    same = tree(tmp_path / "same", {f"s{i}": np.ones((1, 4)) for i in range(30)})
    found = evaluate(same, same, Task(hits_at=(1, 10)))
    for name, level in found["chance"].items():
        assert found["figures"]["mean"][name] == pytest.approx(level, abs=1e-6)
    assert found["figures"]["optimistic"]["mrr"] == found["figures"]["optimistic"]["ndcg@10"] == 1


def test_group_similarities_by_plain_loops(tmp_path: Path):
    draws = np.random.default_rng(0)
    sides = [draws.standard_normal((n, 3)) + 1 for n in (7, 5)]
    paths = [
        table(tmp_path / f"{n}.parquet", {str(i): row for i, row in enumerate(side)})
        for n, side in enumerate(sides)
    ]
    found = score(*paths, groups=True)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    every = [cosine(a, b) for a in sides[0] for b in sides[1]]
    assert found["mean_of_cosines"] == pytest.approx(np.mean(every), abs=2e-6)
    means = [side.mean(axis=0) for side in sides]
    assert found["cosine_of_means"] == pytest.approx(cosine(*means), abs=2e-6)
    lone = table(tmp_path / "lone.parquet", {"a": [1, 2, 3]})
    assert score(lone, paths[0], groups=True)["frechet_distance"] is None


def test_a_row_counts_once_with_the_mean_over_its_partners(tmp_path: Path):
    first = table(tmp_path / "a.parquet", {"s.x": [1, 0], "s.y": [0, 2], "t": [1, 1]})
    second = table(tmp_path / "b.parquet", {"s.1": [3, 0], "s.2": [0, 1], "t": [1, 0], "u": [1, 0]})
    found = score(first, second)
    assert [pair["similarity"] for pair in found["pairs"]] == [0.5, 0.5, 0.707107]
    assert found["unmatched"] == {"first": [], "second": ["u"]}
    with pytest.raises(DataError, match="--group"):
        score(first, table(tmp_path / "c.parquet", {"z": [1, 0]}))
