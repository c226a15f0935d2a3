"""Folders of files: workers, budgets, kills, reruns and several processes change no number."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import numpy as np
import pytest
import torch
from retrieval.commands import run
from retrieval.deadly_reader import DeadlyReader
from retrieval.folders import fill_folder
from retrieval.workplace import performance, score, tiny_model

from clamp3 import load_model
from clamp3.errors import ConfigError, FormatError
from clamp3.models.checkpoints import LoadedClamp, save_checkpoint
from clamp3.retrieval.embedding import files as embed_files
from clamp3.retrieval.embedding import segments as embedding
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.retrieval.embedding.npy_output import npy_names
from clamp3.retrieval.embedding.reading import in_order, run_ahead
from clamp3.retrieval.embedding.segments import (
    Budget,
    embed_pieces,
    embed_rows,
    piece_rows,
    tower_of,
)
from clamp3.retrieval.embedding.sources import find_sources
from clamp3.retrieval.vectors import read_vectors

COUNT = 24


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("files") / "music", COUNT)


@pytest.fixture(scope="module")
def plain(music: Path, model_folder: Path) -> dict[str, np.ndarray]:
    """The embeddings, made without any process beside this one."""
    return by_id(embedder(model_folder).embed_files(music))


def embedder(folder: Path, **options: object) -> Embedder:
    return load_model(folder, device="cpu", **options)


def by_id(found: object) -> dict[str, np.ndarray]:
    return dict(zip(found.ids, found.embeddings, strict=True))


def check_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, vector in expected.items():
        np.testing.assert_allclose(found[name], vector, atol=1e-6, rtol=0, err_msg=name)


def of_table(path: Path) -> dict[str, np.ndarray]:
    return by_id(read_vectors(path))


def test_rows_are_sorted_and_those_of_each_piece_alone(plain: dict, tiny: LoadedClamp, music: Path):
    assert list(plain) == sorted(plain)
    assert len(plain) == 5 * COUNT
    expected = {
        "part 0/3.abc": embed_pieces(tiny, "abc", [score(3)]),
        "part 1/4p.mtf": embed_pieces(tiny, "mtf", [performance(4)]),
        "part 2/5.txt": embed_pieces(tiny, "text", [(music / "part 2/5.txt").read_text()]),
        "part 0/6f.npy": embed_pieces(tiny, "audio", [np.load(music / "part 0/6f.npy")]),
    }
    for name, vector in expected.items():
        np.testing.assert_allclose(plain[name], vector[0], atol=1e-6)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(music: Path, model_folder: Path, plain: dict, workers: int):
    found = embedder(model_folder).embed_files([music], workers=workers)
    for name, vector in by_id(found).items():
        assert np.array_equal(vector, plain[name]), name
    assert found.ids == list(plain)
    assert [(name, error.kind) for name, error in found.rejected] == [
        ("broken.mid", "truncated_midi"),
        ("empty.abc", "empty_file"),
    ]


def test_the_budget_and_the_groups_change_nothing(
    music: Path, model_folder: Path, plain: dict, monkeypatch: pytest.MonkeyPatch
):
    check_same(by_id(embedder(model_folder, batch_tokens=20).embed_files(music)), plain)
    monkeypatch.setattr(embed_files, "GROUP_FILES", 7)
    check_same(by_id(embedder(model_folder).embed_files(music)), plain)


@pytest.mark.slow
def test_processes_that_compute_side_by_side(
    music: Path, model_folder: Path, plain: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embed_files, "GROUP_FILES", 10)
    words = ["embed", music, tmp_path / "o.parquet", "--model", model_folder, "--device", "cpu"]
    code, _, said = run(*words, "--processes", 2, "--workers", 1)
    assert code == 0
    assert f"{5 * COUNT + 2} in, {5 * COUNT} out, 2 rejected" in said
    check_same(of_table(tmp_path / "o.parquet"), plain)


@pytest.mark.slow
def test_another_process_with_another_hash_seed(
    music: Path, model_folder: Path, plain: dict, tmp_path: Path
):
    out = tmp_path / "o.parquet"
    words = [sys.executable, "-m", "clamp3", "embed", music, out, "--model", model_folder]
    subprocess.run(
        [*map(str, words), "--batch-tokens", "100", "--device", "cpu"],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
    )
    check_same(of_table(out), plain)


# Killed after its second part; the group and the wait make sure that there is a third to come.
KILLED = """
    import sys, time
    from clamp3.cli import app
    from clamp3.retrieval.embedding import files, npy_output, parquet_output
    files.GROUP_FILES = 9
    for output in (parquet_output.ParquetOutput, npy_output.NpyOutput):
        def slowly(self, rows, write=output.write):
            write(self, rows)
            time.sleep(0.3)
        output.write = slowly
    app(sys.argv[1:])
"""


def start_and_kill(words: list, enough: Callable[[], bool]) -> None:
    code = textwrap.dedent(KILLED)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not enough():
        assert process.poll() is None, "ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Counted:
    """Counts the files that are computed, by their SHA-256 given as unknown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.pieces = 0
        before = embedding.embed_rows

        def counting(tower: object, pieces: list, *rest: object, **options: object) -> list:
            self.pieces += len(pieces)
            return before(tower, pieces, *rest, **options)

        monkeypatch.setattr("clamp3.retrieval.embedding.engine.embed_rows", counting)


def test_a_killed_table_goes_on(
    music: Path, model_folder: Path, plain: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, parts = tmp_path / "o.parquet", tmp_path / "o.parquet.parts"
    words = ["embed", music, out, "--model", model_folder, "--device", "cpu", "--workers", 0]
    start_and_kill(words, lambda: len(list(parts.glob("part-*.parquet"))) >= 2)
    assert not out.exists()
    kept = 9 * (len(list(parts.glob("part-*.parquet"))) - 1)
    counted = Counted(monkeypatch)
    assert run(*words)[0] == 0
    assert 0 < counted.pieces <= 5 * COUNT - kept
    check_same(of_table(out), plain)
    assert not parts.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.parquet", "o.rejected.tsv"]


def test_a_killed_tree_goes_on(
    music: Path, model_folder: Path, plain: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "tree"
    words = ["embed", music, out, "--model", model_folder, "--format", "npy", "--device", "cpu"]
    # Not rglob, which stumbles over drafts that come and go.
    start_and_kill(
        [*words, "--workers", 0],
        lambda: len(glob("**/*.npy", root_dir=out, recursive=True)) >= 20,
    )
    counted = Counted(monkeypatch)
    assert run(*words)[0] == 0
    assert 0 < counted.pieces <= 5 * COUNT - 9
    names = npy_names(list(plain))
    for name, vector in plain.items():
        found = np.load(out / names[name])
        assert (found.shape, found.dtype) == ((1, 16), np.float32)
        np.testing.assert_allclose(found[0], vector, atol=1e-6)
    assert len(list(out.rglob("*.npy"))) == len(plain)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return fill_folder(tmp_path / "few", 3)


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_only_what_changed_is_computed_again(
    few: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
):
    out = tmp_path / ("o.parquet" if form == "parquet" else "o")
    words = ["embed", few, out, "--model", model_folder, "--device", "cpu", "--format", form]

    def computed(*more: object) -> int:
        with monkeypatch.context() as patch:
            counted = Counted(patch)
            assert run(*words, *more)[0] == 0
        return counted.pieces

    def found() -> dict[str, np.ndarray]:
        if form == "parquet":
            return of_table(out)
        return {str(path.relative_to(out)): np.load(path)[0] for path in sorted(out.rglob("*.npy"))}

    assert computed() == 15
    first = found()
    assert computed() == 0
    check_same(found(), first)
    (few / "part 0/0.txt").write_text("something else", encoding="utf-8")
    os.utime(few / "part 1/1.abc", (1, 1))  # touched, but the same
    (few / "part 2/2m.mid").unlink()
    assert computed() == 1
    if form == "parquet":
        assert len(found()) == 14
    changed = {name for name, vector in found().items() if not np.array_equal(vector, first[name])}
    assert len(changed) == 1
    assert computed("--precision", "bf16") == 14
    assert computed("--temporal") == 14
    assert computed("--temporal", "--abc-as-is") == 14


def test_a_table_that_is_made_again_has_the_same_bytes(
    few: Path, model_folder: Path, tmp_path: Path
):
    words = ["--model", model_folder, "--device", "cpu"]
    run("embed", few, tmp_path / "a.parquet", *words)
    first = (tmp_path / "a.parquet").read_bytes()
    run("embed", few, tmp_path / "a.parquet", *words)
    run("embed", few, tmp_path / "b.parquet", *words)
    assert first == (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_temporal_tables_and_trees(few: Path, model_folder: Path, tmp_path: Path):
    import pyarrow.parquet as pq

    found = embedder(model_folder).embed_files(few, temporal=True)
    words = ["--model", model_folder, "--device", "cpu", "--temporal"]
    assert run("embed", few, tmp_path / "t.parquet", *words)[0] == 0
    assert run("embed", few, tmp_path / "t", *words, "--format", "npy")[0] == 0
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["id"] for row in rows] == found.ids
    names = npy_names(found.ids)
    for row, features in zip(rows, found.embeddings, strict=True):
        np.testing.assert_allclose(np.array(row["embedding"]), features, atol=1e-6)
        np.testing.assert_allclose(np.load(tmp_path / "t" / names[row["id"]])[0], features, 1e-5)
    frames = np.load(few / "part 1/1f.npy")
    assert found.embeddings[found.ids.index("part 1/1f.npy")].shape == (len(frames) + 2, 64)
    code, _, said = run("search", "a reel", tmp_path / "t.parquet", "--model", model_folder)
    assert code == 1
    assert "temporal features" in said


def test_a_tree_can_be_searched_and_lies_where_its_inputs_do(
    few: Path, model_folder: Path, tmp_path: Path
):
    words = ["--model", model_folder, "--device", "cpu"]
    assert run("embed", few, few / "out", *words, "--format", "npy")[0] == 0
    code, _, said = run("embed", few, few / "out", *words, "--format", "npy")
    assert code == 0
    assert "17 in, 15 out, 2 rejected" in said  # its own outputs are no inputs
    code, said, _ = run("search", "a reel", few / "out", *words, "--top-k", 3)
    assert code == 0
    assert len(said.splitlines()) == 3


def test_a_rejected_file_leaves_no_old_vector(few: Path, model_folder: Path, tmp_path: Path):
    words = ["--model", model_folder, "--device", "cpu", "--format", "npy"]
    run("embed", few, tmp_path / "o", *words)
    assert (tmp_path / "o/part 0/0m.npy").exists()
    (few / "part 0/0m.mid").write_bytes(b"MThd\x00\x00")
    assert "17 in, 14 out, 3 rejected" in run("embed", few, tmp_path / "o", *words).stderr
    assert not (tmp_path / "o/part 0/0m.npy").exists()


def test_folders_that_are_not_looked_into_are_told(few: Path, tmp_path: Path, monkeypatch, caplog):
    (tmp_path / "given/closed").mkdir(parents=True)
    (tmp_path / "given/link").symlink_to(few)
    closed = PermissionError(13, "Permission denied", str(tmp_path / "given/closed"))
    walk = os.walk

    def refusing(top, onerror):
        yield from walk(top)
        onerror(closed)

    monkeypatch.setattr(os, "walk", refusing)
    assert find_sources([tmp_path / "given"]) == ([], [])
    assert "given/link: a link to a folder is not followed" in caplog.text
    assert "given/closed: nothing in it is read (Permission denied)" in caplog.text


def test_names_of_npy_files():
    ids = ["a.abc", "a.mtf", "b.mid", "sub/a.abc", "c.txt", "C.abc", "d", "d.abc.npy", "d.abc"]
    names = npy_names(ids)
    assert names["a.abc"] == "a.abc.npy"
    assert names["a.mtf"] == "a.mtf.npy"
    assert names["b.mid"] == "b.npy"
    assert names["sub/a.abc"] == "sub/a.npy"
    assert names["C.abc"] == "C.abc.npy"  # not every file system tells case
    assert len({name.casefold() for name in names.values()}) == len(ids)


def test_a_model_without_the_tower_rejects_the_file(few: Path, tmp_path: Path, tiny: LoadedClamp):
    narrow = load_model(_symbolic_only(tmp_path, tiny), device="cpu")
    found = narrow.embed_files(few)
    assert set(found.modalities) == {"abc", "mtf"}
    assert {error.kind for name, error in found.rejected if name.endswith((".txt", ".npy"))} == {
        "no_tower"
    }


def _symbolic_only(tmp_path: Path, tiny: LoadedClamp) -> Path:
    from clamp3.models.clamp import ClampModel

    half = ClampModel(tiny.config, towers=["symbolic"])
    half.load_state_dict(tiny.model.state_dict(), strict=False)
    save_checkpoint(half, tmp_path / "half")
    return tmp_path / "half"


class ShortOfMemory:
    """A symbolic tower that has room for `limit` positions."""

    def __init__(self, loaded: LoadedClamp, limit: int, error: Exception):
        tower = tower_of(loaded, "abc")
        self.asked: list[int] = []

        def hidden(rows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            self.asked.append(rows.shape[0] * rows.shape[1])
            if self.asked[-1] > limit:
                raise error
            return tower.hidden(rows, mask)

        self.tower = tower._replace(hidden=hidden)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_budget(
    tiny: LoadedClamp, error: Exception, caplog: pytest.LogCaptureFixture
):
    pieces = [piece_rows(tiny, "abc", score(number)) for number in range(12)]
    expected = np.stack(embed_rows(tower_of(tiny, "abc"), pieces, Budget(1000)))
    short = ShortOfMemory(tiny, 30, error)
    budget = Budget(1000)
    found = np.stack(embed_rows(short.tower, pieces, budget))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert 8 <= budget.tokens <= 30
    assert f"going on with {budget.tokens} positions" in caplog.text
    asked = len(short.asked)
    assert sum(size > 30 for size in short.asked) < 6
    embed_rows(short.tower, pieces, budget)
    assert all(size <= 30 for size in short.asked[asked:])  # it has learnt


def test_a_segment_that_does_not_fit_is_told(tiny: LoadedClamp):
    short = ShortOfMemory(tiny, 3, torch.OutOfMemoryError())
    with pytest.raises(ConfigError, match="out of memory on a single segment of 8 rows"):
        embed_rows(short.tower, [piece_rows(tiny, "abc", score(5))], Budget(64))


def test_other_errors_are_not_taken_for_it(tiny: LoadedClamp):
    short = ShortOfMemory(tiny, 3, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        embed_rows(short.tower, [piece_rows(tiny, "abc", score(5))], Budget(64))


def test_numbers_that_are_not_finite_cost_one_file(few: Path, tmp_path: Path, tiny: LoadedClamp):
    made = tiny_model()
    made.model.text_proj.weight.data *= 1e38
    made.model.text_proj.bias.data[:] = 3e38
    save_checkpoint(made.model, tmp_path / "m", tokenizer=made.tokenizer)
    found = load_model(tmp_path / "m", device="cpu").embed_files(few)
    assert {error.kind for name, error in found.rejected if name.endswith("txt")} == {"not_finite"}
    assert len(found.ids) == 12


def test_a_reader_that_dies_costs_one_file(
    few: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("clamp3.retrieval.embedding.embedder.Reader", DeadlyReader)
    found = embedder(model_folder).embed_files(few, workers=2)
    assert len(found.ids) == 14
    assert dict(found.rejected)["part 1/1.abc"].kind == "worker_died"


def test_readers_need_no_torch():
    code = (
        "import sys, clamp3.retrieval.embedding.reading\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_importing_the_package_is_light():
    code = (
        "import sys, clamp3\n"
        "light = not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(not (light and 'load_model' in dir(clamp3)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_items_come_in_order_unless_too_many_wait(monkeypatch: pytest.MonkeyPatch):
    def order(indices: list[int], limit: int) -> list[int]:
        return [index for index, _ in in_order(((i, i) for i in indices), lambda _: 1, limit)]

    assert order([2, 0, 1, 4, 3], 10) == [0, 1, 2, 3, 4]
    assert order([1, 2, 3, 0, 5, 4], 2) == [1, 2, 3, 0, 4, 5]
    assert order([], 2) == []
    assert sorted(order([5, 4, 3, 2, 1, 0], 0)) == list(range(6))


def test_reading_ahead_stops_and_ends():
    state = {"made": 0, "closed": False}

    def items() -> Iterator[int]:
        try:
            for number in range(100):
                state["made"] += 1
                yield number
        finally:
            state["closed"] = True

    ahead = run_ahead(items(), lambda _: 10, 35)
    assert next(ahead) == 0
    time.sleep(0.2)
    assert state["made"] < 10
    ahead.close()
    assert state["closed"]
    assert list(run_ahead(iter(range(100)), lambda _: 10, 35)) == list(range(100))

    def fails() -> Iterator[int]:
        yield 1
        raise FormatError("a", "fault")

    failing = run_ahead(fails(), lambda _: 1, 10)
    assert next(failing) == 1
    with pytest.raises(FormatError, match="fault"):
        next(failing)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--device", "cuda:99"], "there are"),
        (["--device", "gpu"], "expected cpu, cuda or cuda:0"),
        (["--device", "meta"], "device 'meta': expected cpu, cuda or cuda:0"),
        (["--format", "npy"], "o.parquet: the last argument"),
    ],
)
def test_what_is_wrong_with_options(few: Path, model_folder: Path, words: list, message: str):
    code, _, said = run("embed", few, few / "o.parquet", "--model", model_folder, *words)
    assert code == 1
    assert message in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_ten_thousand_short_files_do_not_need_more_memory(model_folder: Path, tmp_path: Path):
    code = textwrap.dedent(
        """
        import resource, sys
        from clamp3.cli import app
        try:
            app(sys.argv[1:])
        except SystemExit as end:
            assert not end.code
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        """
    )
    peaks = []
    for count in (500, 10_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            (folder / f"{number}.abc").write_text(score(number), encoding="utf-8")
        words = ["embed", folder, tmp_path / f"{count}.parquet", "--model", model_folder]
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words), "--workers", "2", "--device", "cpu"],
            check=True,
            capture_output=True,
            text=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 120, peaks  # MiB


def test_an_input_that_comes_or_goes_renames_the_other(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    music = tmp_path / "music"
    music.mkdir()
    (music / "x.abc").write_text(score(1), encoding="utf-8")
    words = ["embed", music, tmp_path / "o", "--model", model_folder, "--format", "npy"]
    run(*words)
    first = np.load(tmp_path / "o/x.npy")
    (music / "x.mtf").write_text(performance(1), encoding="utf-8")
    counted = Counted(monkeypatch)
    run(*words)
    assert counted.pieces == 1
    assert np.array_equal(np.load(tmp_path / "o/x.abc.npy"), first)
    assert sorted(p.name for p in (tmp_path / "o").glob("*.npy")) == ["x.abc.npy", "x.mtf.npy"]
