"""The originals' recorded outputs, all the way: their files and weights in, tables and .npy out."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from models.formula import clamp_model, m3_model, read_json, read_npz
from models.test_mert import write as write_mert
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.models.checkpoints import save_checkpoint
from clamp3.models.tokenizer import load_tokenizer

GLOBAL, HIDDEN = 1e-5, 2e-5
# What each of the originals' scripts recorded: the model's kind, whether temporal.
SCRIPTS = {
    "clamp3_global": ("clamp3", False),
    "clamp3_temporal": ("clamp3", True),
    "clamp2_normalized": ("clamp2", False),
    "clamp2_temporal": ("clamp2", True),
    "m3": ("m3", True),
}


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def recordings(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """The folder of the recorded inputs as files, and the recorded outputs, of "A" or "B"."""

    def build(letter: str) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp("inputs")
        inputs = read_json(goldens / f"models/extract_{letter}_inputs.json")["inputs"]
        for name, text in inputs.items():
            (folder / name).write_bytes(text.encode())
        audio = read_npz(goldens / f"models/extract_{letter}_audio_inputs.npz")
        for stem, features in audio.items():
            np.save(folder / f"{stem}.npy", features)
        return folder, read_npz(goldens / f"models/extract_{letter}.npz")

    return build


@pytest.fixture(scope="module")
def model(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """The folder of the model that the outputs were recorded with."""

    def build(letter: str, kind: str) -> Path:
        folder = tmp_path_factory.mktemp("model") / kind
        tokenizer = load_tokenizer(goldens / "models/tokenizer")
        if kind == "m3":
            save_checkpoint(m3_model(letter), folder)
        else:
            save_checkpoint(clamp_model(letter, kind), folder, tokenizer=tokenizer)
        return folder

    return build


def found_in(out: Path) -> dict[str, np.ndarray]:
    """The embeddings by the stem of their files, as [D] or [N, D]."""
    if out.is_dir():
        arrays = {path.stem: np.load(path) for path in sorted(out.rglob("*.npy"))}
        assert all(array.dtype == np.float32 and len(array) == 1 for array in arrays.values())
        return {stem: array[0] for stem, array in arrays.items()}
    import pyarrow.parquet as pq

    table = pq.read_table(out)
    ids = table.column("id").to_pylist()
    assert ids == sorted(ids)
    rows = table.column("embedding").to_pylist()
    return {Path(name).stem: np.array(row, np.float32) for name, row in zip(ids, rows, strict=True)}


def check(found: np.ndarray, recorded: dict, name: str, atol: float) -> Iterator[str]:
    """Compare with what was recorded: the whole, or shape, ends and mean."""
    if name in recorded:
        np.testing.assert_allclose(found[None], recorded[name], atol=atol, rtol=0, err_msg=name)
        yield name
    if f"{name}@shape" in recorded:
        assert list(recorded[f"{name}@shape"])[-2:] == list(found.shape), name
        ends = np.concatenate([found[:3], found[-3:]])
        for value, part in ((ends, "head_tail"), (found.mean(axis=0), "mean")):
            expected = recorded[f"{name}@{part}"].reshape(value.shape)
            np.testing.assert_allclose(value, expected, atol=atol, rtol=0, err_msg=name)
        yield name


def check_all(found: dict[str, np.ndarray], recorded: dict, script: str, temporal: bool) -> set:
    """The names of a script's outputs, which all have to be there."""
    checked = {
        name
        for stem, array in found.items()
        for name in check(array, recorded, f"{script}/{stem}", HIDDEN if temporal else GLOBAL)
    }
    assert checked == {n.split("@")[0] for n in recorded if n.startswith(f"{script}/")}
    return checked


@pytest.mark.parametrize(("letter", "form"), [("B", "parquet"), ("B", "npy"), ("A", "npy")])
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_recorded_output(
    recordings: Callable, model: Callable, tmp_path: Path, script: str, letter: str, form: str
):
    kind, temporal = SCRIPTS[script]
    inputs, recorded = recordings(letter)
    out = tmp_path / ("out.parquet" if form == "parquet" else "out")
    words = ["embed", inputs, out, "--model", model(letter, kind), "--format", form]
    words += ["--device", "cpu", *(["--temporal"] if temporal else [])]
    said = run(*words)
    found = found_in(out)
    check_all(found, recorded, script, temporal)
    missing = {path.stem for path in inputs.iterdir()} - set(found)
    listing = tmp_path / ("out.rejected.tsv" if form == "parquet" else "out/rejected.tsv")
    rows = [line.split("\t")[:2] for line in listing.read_text().splitlines()[1:]]
    assert {Path(row[0]).stem for row in rows} == missing
    assert ["s_empty_abc.abc", "empty_file"] in rows
    assert f"{len(found) + len(rows)} in, {len(found)} out, {len(rows)} rejected" in said
    if kind == "clamp3":
        assert missing == {"s_empty_abc"}  # features of float64 too, on which the original fails
    else:
        assert {row[1] for row in rows} == {"empty_file", "no_tower"}


def test_the_lines_of_a_text_keep_their_order(recordings: Callable, model: Callable, goldens: Path):
    from clamp3 import load_model

    case = read_json(goldens / "models/extract_B_inputs.json")["multi_line_text"]
    embedder = load_model(model("B", "clamp3"), towers=["text"], device="cpu")
    for recorded in case["by_PYTHONHASHSEED"].values():
        found = embedder.embed_text("\n".join(recorded["line_order"]))
        np.testing.assert_allclose(found, recorded["embedding"], atol=GLOBAL, rtol=0)
    distinct = "\n".join(dict.fromkeys(line for line in case["text"].split("\n") if line))
    np.testing.assert_array_equal(embedder.embed_text(case["text"]), embedder.embed_text(distinct))


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_a_real_checkpoint_all_the_way(goldens: Path, tmp_path: Path, form: str):
    folder = goldens / "models/ckpt"
    inputs = json.loads((folder / "ckpt.json").read_text())["inputs"]
    arrays = read_npz(folder / "expected.npz")
    music = tmp_path / "music"
    music.mkdir()
    for name, text in inputs.items():
        (music / name).write_text(text, encoding="utf-8")
    np.save(music / "20.npy", arrays["input/20.npy"])
    words = ["--text-model", goldens / "models/tokenizer", "--text-heads", "4"]
    for kind in ("clamp3", "m3"):
        weights = folder.glob(f"weights_{kind}_*.pth")
        run("import-weights", *weights, "--out", tmp_path / kind, *words)
    for script, (kind, temporal) in SCRIPTS.items():
        if kind == "clamp2":
            continue
        out = tmp_path / (f"{script}.parquet" if form == "parquet" else script)
        words = ["embed", music, out, "--model", tmp_path / kind, "--format", form]
        run(*words, *(["--temporal"] if temporal else []))
        check_all(found_in(out), arrays, script, temporal)


@pytest.mark.parametrize("script", ["clamp2_normalized", "clamp2_temporal"])
def test_a_published_clamp2_all_the_way(
    recordings: Callable, goldens: Path, tmp_path: Path, script: str
):
    """A file as CLaMP 2 is published, imported and asked for global vectors and hidden states."""
    inputs, recorded = recordings("B")
    name = "weights_clamp2_h_size_64_lr_5e-05_batch_128_scale_1_t_length_16_t_model_x.pth"
    state = clamp_model("B", "clamp2").state_dict()
    torch.save({"model": state, "epoch": 1, "min_eval_loss": 1.0}, tmp_path / name)
    words = ["--text-model", goldens / "models/tokenizer", "--text-heads", "4"]
    run("import-weights", tmp_path / name, "--out", tmp_path / "model", *words)
    kind, temporal = SCRIPTS[script]
    assert json.loads((tmp_path / "model/config.json").read_text())["kind"] == kind
    words = ["embed", inputs, tmp_path / "out", "--model", tmp_path / "model", "--format", "npy"]
    run(*words, "--device", "cpu", *(["--temporal"] if temporal else []))
    checked = check_all(found_in(tmp_path / "out"), recorded, script, temporal)
    kinds = Counter(name.split("/")[1][0] + name.rpartition("_")[2] for name in checked)
    assert min(kinds["sabc"], kinds["smtf"], kinds["tlong"]) > 0  # scores, performances, texts


@pytest.mark.parametrize("workers", [0, 2])
def test_sound_files_through_mert(goldens: Path, model: Callable, tmp_path: Path, workers: int):
    recorded = read_npz(goldens / "models/mert_to_clamp3_A.npz")
    sounds = read_npz(goldens / "models/mert.npz")
    music = tmp_path / "music"
    music.mkdir()
    for name in [name for name in sounds if name.startswith("pcm16/")]:
        stem = name.removeprefix("pcm16/")
        soundfile.write(music / f"{stem}.wav", sounds[name], int(sounds[f"sr/{stem}"]))
    mert = write_mert(tmp_path / "mert")
    words = ["embed", music, tmp_path / "o", "--model", model("A", "clamp3"), "--mert", mert]
    run(*words, "--format", "npy", "--device", "cpu", "--workers", workers)
    found = found_in(tmp_path / "o")
    assert set(found) == set(recorded)
    for stem, vector in recorded.items():
        np.testing.assert_allclose(found[stem][None], vector, atol=GLOBAL, rtol=0, err_msg=stem)
    rejected = (tmp_path / "o/rejected.tsv").read_text().splitlines()[1:]
    assert [row.split("\t")[:2] for row in rejected] == [["mono24k_0s7.wav", "too_short"]]
