"""Labels without training: the nearest label text."""

import json
from pathlib import Path

import numpy as np
import pytest
from retrieval.commands import run
from retrieval.workplace import performance, score

from clamp3.errors import ConfigError, DataError
from clamp3.retrieval.embedding.embedder import load_model
from clamp3.retrieval.zero_shot import label_vectors, read_classes, zero_shot

CLASSES = ["reel", "slow air", "hornpipe"]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(3):
        (folder / f"reel_{number}.abc").write_text(score(number), encoding="utf-8")
        (folder / f"hornpipe_{number}.mtf").write_text(performance(number), encoding="utf-8")
    (folder / "broken.mid").write_bytes(b"MThd\x00\x00")
    return folder


def test_scores_are_cosines_with_the_mean_of_the_prompts(music: Path, model_folder: Path):
    embedder = load_model(model_folder, device="cpu")
    prompts = ["a {}", "Music: {}."]
    found = zero_shot(embedder, [music], CLASSES, prompts)
    assert [name for name, _, _ in found.refused] == ["broken.mid"]
    for row, piece in enumerate(found.vectors.embeddings):
        for column, label in enumerate(CLASSES):
            texts = [embedder.embed_text(prompt.format(label)) for prompt in prompts]
            mean = sum(text / np.linalg.norm(text) for text in texts)
            expected = piece @ mean / np.linalg.norm(piece) / np.linalg.norm(mean)
            assert found.similarities[row, column] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ConfigError, match="where the label goes"):
        label_vectors(embedder, CLASSES, ["music"])


def test_labels_of_a_file(tmp_path: Path):
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffreel\n\n slow air \n", encoding="utf-8")
    assert read_classes(path) == ["reel", "slow air"]
    path.write_text("reel\nreel\n", encoding="utf-8")
    with pytest.raises(DataError, match="'reel' twice"):
        read_classes(path)
    path.write_text("reel\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"1 label\(s\)"):
        read_classes(path)


def test_command_on_files_and_on_their_table(music: Path, model_folder: Path, tmp_path: Path):
    labels, table = tmp_path / "labels.txt", tmp_path / "music.parquet"
    labels.write_text("\n".join(CLASSES), encoding="utf-8")
    shared = ["--labels", labels, "--model", model_folder, "--truth", "names", "--device", "cpu"]
    done = run("zero-shot", music, *shared, "--json", tmp_path / "r.json")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].split("\t") == ["id", "label", *CLASSES]
    assert "accuracy" in done.stdout
    report = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    right = sum(row["id"].split("_")[0] == row["label"] for row in report["pieces"])
    assert report["judged"]["accuracy"] == pytest.approx(right / 6, abs=1e-6)
    run("embed", music, table, "--model", model_folder)
    assert run("zero-shot", table, *shared).stdout == done.stdout
    run("index", "build", tmp_path / "index", table)
    assert run("zero-shot", tmp_path / "index", *shared).stdout == done.stdout
