"""The LoRA project's files: its keys, figures against plain loops, the same bytes each time."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from repository import ROOT
from retrieval.folders import tables_in

from clamp3.config import EvaluateConfig
from clamp3.errors import DataError
from clamp3.files import write_jsonl
from clamp3.retrieval.evaluation.adapters import evaluate_adapters
from clamp3.retrieval.vectors import Origin, Vectors, write_vectors

WIDTH = 6
FILES = ("baseline_report.json", "lora_report.json", "comparison_report.json", "summary.txt")
FIELDS = {"wikimt_x": ("background", "scene"), "midicaps": ("analysis", "description")}
MODALITY = {"wikimt_x": "abc", "midicaps": "mtf"}


def settings(num_abc: int | None = None, num_mtf: int | None = None) -> EvaluateConfig:
    return EvaluateConfig(
        text_field="analysis", hits_at=(1, 5, 10), num_abc=num_abc, num_mtf=num_mtf
    )


def names(collection: str) -> list[str]:
    return [f"{collection}/{number:02d}" for number in range(12)]


def matrix(rows: int, *seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32)


@pytest.fixture
def place(tmp_path: Path) -> dict:
    """Twelve pieces of each collection, whose adapted vectors lie near their texts."""
    manifests = []
    for number, (collection, modality) in enumerate(MODALITY.items()):
        ids, fields = names(collection), FIELDS[collection]
        texts = matrix(len(ids) * 2, number)
        origin = Origin("m", "m", "text", collection)
        labels = {"field": list(fields) * len(ids)}
        text = Vectors([name for name in ids for _ in fields], texts, origin, labels)
        write_vectors(tmp_path / "clamp3" / collection / "text.parquet", text)
        music = matrix(len(ids), number, 1)
        adapted = (texts[::2] + texts[1::2]) * 3 + music
        for model, vectors in (("clamp3", music), ("lora", adapted)):
            made = Origin(model, "m", modality, collection)
            path = tmp_path / model / collection / f"{modality}.parquet"
            write_vectors(path, Vectors(ids, vectors, made))
        rows = [{"id": name, **{f: f"{f} of {name} " * 9 for f in fields}} for name in ids]
        manifests.append(tmp_path / f"{collection}-{modality}-test.jsonl")
        write_jsonl(manifests[-1], rows)
    return {
        "baseline": tables_in(tmp_path / "clamp3"),
        "adapted": tables_in(tmp_path / "lora", tmp_path / "clamp3"),
        "manifests": manifests,
    }


def written(place: dict, out: Path, chosen: EvaluateConfig) -> dict:
    evaluate_adapters(**place, out=out, settings=chosen)
    assert sorted(path.name for path in out.iterdir()) == sorted(f"evaluation_{f}" for f in FILES)
    return {
        name: json.loads((out / f"evaluation_{name}_report.json").read_text(encoding="utf-8"))
        for name in ("baseline", "lora", "comparison")
    }


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_the_figures_are_those_of_plain_loops(place: dict, tmp_path: Path):
    found = written(place, tmp_path / "out", settings())["baseline"]
    assert found["model_type"] == "baseline"
    assert list(found["datasets"]) == [
        "wikimt_background",
        "wikimt_scene",
        "midicaps_analysis",
        "midicaps",
    ]
    entry = found["datasets"]["wikimt_scene"]
    texts, music = matrix(24, 0)[1::2], matrix(12, 0, 1)
    alike = np.array([[cosine(text, piece) for piece in music] for text in texts])
    right = np.diag(alike)
    assert entry["metrics"]["avg_text_music_similarity"] == pytest.approx(right.mean(), abs=1e-6)
    norms = [np.linalg.norm(piece) for piece in music]
    assert entry["metrics"]["avg_feature_norm"] == pytest.approx(np.mean(norms), abs=1e-5)
    assert entry["metrics"]["num_samples"] == entry["metrics"]["num_text_annotated"] == 12
    both_ways = {"text_to_music": alike, "music_to_text": alike.T}
    for name, matrix_ in both_ways.items():
        places = 1 + (matrix_ > np.diag(matrix_)[:, None]).sum(axis=1)
        assert entry[name]["MRR"] == pytest.approx(np.mean(1 / places), abs=1e-6)
        assert entry[name]["Hit@5"] == pytest.approx(100 * np.mean(places <= 5), abs=1e-4)
        assert entry[name]["chance"]["Hit@1"] == pytest.approx(100 / 12, abs=1e-4)
        assert entry[name]["intervals"]["MRR"][0] < entry[name]["MRR"]
        stats = entry[name]["similarity_stats"]
        expected = [right.mean(), right.std(), alike.mean(), alike.std(), alike.max(), alike.min()]
        keys = ("mean_correct", "std_correct", "mean_all", "std_all", "max_all", "min_all")
        assert [stats[key] for key in keys] == pytest.approx(expected, abs=1e-6)
    pairs = [cosine(music[i], music[j]) for i in range(12) for j in range(12) if i != j]
    stats = entry["feature_stats"]
    assert stats["mean_pairwise_similarity"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert stats["std_norm"] == pytest.approx(np.std(norms), abs=1e-5)
    sample = entry["samples"][3]
    assert (sample["id"], len(sample["text"])) == ("wikimt_x/03", 103)
    assert sample["similarity"] == pytest.approx(right[3], abs=1e-6)


def test_what_the_adapters_changed(place: dict, tmp_path: Path):
    found = written(place, tmp_path / "out", settings())
    entry = found["comparison"]["datasets"]["midicaps"]
    assert "samples" not in entry["baseline"]
    assert found["lora"]["fingerprints"] == {"abc": "lora", "mtf": "lora"}
    change = entry["improvements"]["text_to_music"]["MRR"]
    first, second = (found[model]["datasets"]["midicaps"] for model in ("baseline", "lora"))
    before, after = first["text_to_music"]["MRR"], second["text_to_music"]["MRR"]
    assert (change["baseline"], change["lora"]) == (before, after)
    assert change["absolute_diff"] == pytest.approx(after - before, abs=2e-6)
    assert change["percent_change"] == pytest.approx(100 * (after - before) / before, abs=1e-3)
    assert change["interval"][0] > 0
    assert change["p_value"] < 0.05
    similarity = entry["improvements"]["metrics"]["avg_text_music_similarity"]
    assert similarity["percent_change"] is None
    assert similarity["interval"][0] > 0
    told = (tmp_path / "out/evaluation_summary.txt").read_text(encoding="utf-8")
    assert "MTF DATASET (MidiCaps, text: description)" in told
    assert (
        f"avg_text_music_similarity: {second['metrics']['avg_text_music_similarity']:.4f}" in told
    )


def test_both_models_are_measured_on_the_same_sample(place: dict, tmp_path: Path):
    found = written(place, tmp_path / "out", settings(num_abc=5))
    one, other = (found[model]["datasets"]["wikimt_scene"] for model in ("baseline", "lora"))
    chosen = [sample["id"] for sample in one["samples"]]
    assert chosen == [sample["id"] for sample in other["samples"]]
    assert len(chosen) == one["num_samples"] == one["text_to_music"]["gallery"] == 5
    assert chosen != names("wikimt_x")[:5]  # by hash, not by name
    assert found["baseline"]["datasets"]["midicaps"]["num_samples"] == 12
    more = written(place, tmp_path / "more", settings(num_abc=7))["baseline"]
    larger = {sample["id"] for sample in more["datasets"]["wikimt_scene"]["samples"]}
    assert set(chosen) < larger


def test_the_same_vectors_give_the_same_bytes(place: dict, tmp_path: Path):
    for name in ("a", "b"):
        written(place, tmp_path / name, settings(num_abc=8))
    for file in FILES:
        one, other = (tmp_path / name / f"evaluation_{file}" for name in ("a", "b"))
        assert one.read_bytes() == other.read_bytes()
        assert str(tmp_path) not in one.read_text(encoding="utf-8")


def test_a_data_set_that_is_not_there_has_no_entry(place: dict, tmp_path: Path):
    found = written(place | {"manifests": place["manifests"][:1]}, tmp_path / "out", settings())
    assert list(found["comparison"]["datasets"]) == ["wikimt_background", "wikimt_scene"]
    none = written({**place, "manifests": []}, tmp_path / "none", settings())
    assert none["comparison"]["datasets"] == none["lora"]["datasets"] == {}
    told = (tmp_path / "none/evaluation_summary.txt").read_text(encoding="utf-8")
    assert "No pieces of WikiMT-X, MidiCaps or Lakh" in told


def test_the_stage_where_no_collection_is_given(place: dict, tmp_path: Path):
    script = ROOT / "workflow/scripts/evaluate_adapters.py"
    params = json.dumps({"evaluate": settings().model_dump(mode="json")})
    words = ["--params", params, "--baseline", "--adapted", "--manifests", *place["manifests"]]
    words += ["--out", tmp_path / "out", "--log", tmp_path / "log"]
    subprocess.run([sys.executable, script, *words], check=True, capture_output=True)
    assert len(list((tmp_path / "out").iterdir())) == len(FILES)


def test_lakh_is_told_by_its_titles(tmp_path: Path):
    ids, origin = names("lakh"), Origin("m", "m", "", "lakh")
    labels = {"field": ["background"] * 12}
    for name, made in (
        ("text", Vectors(ids, matrix(12, 1), origin, labels)),
        ("mtf", Vectors(ids, matrix(12, 2), origin)),
    ):
        write_vectors(tmp_path / "lakh" / f"{name}.parquet", made)
    path = tmp_path / "lakh-mtf-test.jsonl"
    write_jsonl(path, [{"id": name, "background": "a song"} for name in ids])
    place = {
        "baseline": tables_in(tmp_path),
        "adapted": tables_in(tmp_path),
        "manifests": [path],
    }
    found = written(place, tmp_path / "out", settings(num_mtf=4))["comparison"]["datasets"]
    assert list(found) == ["lakh"]
    assert found["lakh"]["lora"]["num_samples"] == 4
    assert found["lakh"]["improvements"]["text_to_music"]["MRR"]["p_value"] == 1


def test_two_models_are_refused(place: dict, tmp_path: Path):
    path = tmp_path / "lora/midicaps/mtf.parquet"
    other = Origin("lora", "another", "mtf", "midicaps")
    write_vectors(path, Vectors(names("midicaps"), matrix(12, 9), other))
    with pytest.raises(DataError, match="come from different models"):
        evaluate_adapters(**place, out=tmp_path / "out", settings=settings())
    assert not (tmp_path / "out").exists()
