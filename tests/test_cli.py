"""The commands, run on files and on tiny models made here."""

from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from repository import python
from retrieval.workplace import MUSICXML, STANDARD, performance, score, tiny_model
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.formats.audio import MelFrontEnd, read_audio
from clamp3.formats.mtf import mtf_to_midi
from clamp3.models.checkpoints import LoadedClamp, save_checkpoint
from clamp3.retrieval.embedding.segments import embed_pieces
from clamp3.retrieval.vectors import read_vectors

INTERLEAVED = "M:4/4\nL:1/8\nK:C\nV:1 treble\nV:2 bass\n[V:1]C4 E4|[V:2]C,8|\n[V:1]G8|[V:2]G,8|\n"


@pytest.fixture(scope="module")
def loaded() -> LoadedClamp:
    return tiny_model(MelFrontEnd.feature_size)


@pytest.fixture(scope="module")
def model(loaded: LoadedClamp, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "model"
    save_checkpoint(loaded.model, folder, tokenizer=loaded.tokenizer)
    return folder


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of everything, with the same name in several forms and files that cannot be read."""
    folder = tmp_path / "my music"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.abc").write_text(STANDARD, encoding="utf-8")
    (folder / "a.mtf").write_text(performance(3), encoding="utf-8")
    (folder / "a.txt").write_text("a reel in D major", encoding="utf-8")
    (folder / "sub/B.MusicXML").write_text(MUSICXML, encoding="utf-8")
    (folder / "sub/c.mid").write_bytes(mtf_to_midi(performance(5)))
    features = np.random.default_rng(0).standard_normal((4, MelFrontEnd.feature_size))
    np.save(folder / "sub/d.npy", features)
    tone = np.sin(np.arange(2 * 24_000) / 10)
    soundfile.write(folder / "sub/e.wav", tone, 24_000, subtype="PCM_16")
    (folder / "broken.mid").write_bytes(b"MThd\x00\x00")
    (folder / "latin.abc").write_bytes("K:C\nT:Zürich\n".encode("latin-1"))
    (folder / "notes.pdf").write_bytes(b"%PDF-")
    (folder / ".hidden.abc").write_text(STANDARD, encoding="utf-8")
    return folder


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def rejects(path: Path) -> list[list[str]]:
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head == "id\tkind\treason"
    return [line.split("\t") for line in lines]


def test_a_folder_of_everything_becomes_one_table(
    music: Path, model: Path, loaded: LoadedClamp, tmp_path: Path
):
    code, _, said = run(
        "embed", music, tmp_path / "out.parquet", "--model", model, "--device", "cpu"
    )
    assert code == 0
    assert "9 in, 7 out, 2 rejected" in said
    found = read_vectors(tmp_path / "out.parquet")
    assert dict(zip(found.ids, found.labels["modality"], strict=True)) == {
        "a.abc": "abc",
        "a.mtf": "mtf",
        "a.txt": "text",
        "sub/B.MusicXML": "abc",
        "sub/c.mid": "mtf",
        "sub/d.npy": "audio",
        "sub/e.wav": "audio",
    }
    sound = MelFrontEnd().features(read_audio(music / "sub/e.wav"))
    expected = {
        "a.abc": embed_pieces(loaded, "abc", [INTERLEAVED]),
        "a.mtf": embed_pieces(loaded, "mtf", [performance(3)]),
        "a.txt": embed_pieces(loaded, "text", ["a reel in D major"]),
        "sub/d.npy": embed_pieces(loaded, "audio", [np.load(music / "sub/d.npy")]),
        "sub/e.wav": embed_pieces(loaded, "audio", [sound]),
    }
    for name, vector in expected.items():
        row = found.embeddings[found.ids.index(name)]
        np.testing.assert_allclose(row[None], vector, atol=1e-5)
    listed = rejects(tmp_path / "out.rejected.tsv")
    assert [(row[0], row[1]) for row in listed] == [
        ("broken.mid", "truncated_midi"),
        ("latin.abc", "not_utf8"),
    ]


def test_interleaved_abc_is_taken_as_it_is(model: Path, loaded: LoadedClamp, tmp_path: Path):
    (tmp_path / "x.abc").write_text(score(4), encoding="utf-8")
    assert run("embed", tmp_path / "x.abc", tmp_path / "o.parquet", "--model", model)[0] == 0
    found = read_vectors(tmp_path / "o.parquet")
    assert found.ids == ["x.abc"]
    np.testing.assert_allclose(found.embeddings, embed_pieces(loaded, "abc", [score(4)]), atol=1e-6)


def test_files_of_several_arguments_get_different_ids(music: Path, model: Path, tmp_path: Path):
    for name in ("p", "q"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.abc").write_text(STANDARD, encoding="utf-8")
    words = [tmp_path / "p", tmp_path / "q/x.abc", tmp_path / "q"]
    assert run("embed", *words, tmp_path / "o.parquet", "--model", model)[0] == 0
    assert read_vectors(tmp_path / "o.parquet").ids == ["p/x.abc", "q/x.abc"]


def test_embed_fails_when_everything_failed(music: Path, model: Path, tmp_path: Path):
    code, _, said = run("embed", music / "broken.mid", tmp_path / "o.parquet", "--model", model)
    assert code == 1
    assert "1 in, 0 out, 1 rejected" in said
    assert not (tmp_path / "o.parquet").exists()
    assert rejects(tmp_path / "o.rejected.tsv")[0][0] == "broken.mid"


def test_a_program_fault_costs_one_file(
    music: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(_: Path) -> str:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("clamp3.retrieval.embedding.sources.midi_to_mtf", fails)
    assert run("embed", music, tmp_path / "o.parquet", "--model", model)[0] == 0
    found = {row[0]: row[1:] for row in rejects(tmp_path / "o.rejected.tsv")}
    assert found["sub/c.mid"] == ["internal_error", "ZeroDivisionError: a fault"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.abc", "a.mtf"], "a.mtf: the last argument is the table to write"),
        (["missing", "o.parquet"], "missing: no such file or folder"),
        ([".", "o.parquet", "--adapter", "missing"], "missing"),
    ],
)
def test_embed_says_what_is_wrong(
    words: list, message: str, model: Path, music: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(music)
    code, _, said = run("embed", *words, "--model", model)
    assert code == 1
    assert said.splitlines()[-1].startswith("error: ")
    assert message in said
    assert "Traceback" not in said


def test_sound_needs_the_models_front_end(music: Path, tmp_path: Path):
    narrow = tiny_model(6)
    save_checkpoint(narrow.model, tmp_path / "m", tokenizer=narrow.tokenizer)
    code, _, said = run("embed", music, tmp_path / "o.parquet", "--model", tmp_path / "m")
    assert code == 1
    assert "--mert" in said
    assert not (tmp_path / "o.parquet").exists()


@pytest.fixture
def table(music: Path, model: Path, tmp_path: Path) -> Path:
    out = tmp_path / "tables/all.parquet"
    assert run("embed", music, out, "--model", model)[0] == 0
    return out


def lines_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_what_is_searched_for_is_found(table: Path, music: Path, model: Path):
    for query, name in (
        ("a reel in D major", "a.txt"),
        (music / "a.abc", "a.abc"),
        (music / "sub/e.wav", "sub/e.wav"),
    ):
        code, said, _ = run("search", query, table, "--model", model, "--top-k", 3)
        assert code == 0
        found = lines_of(said)
        assert len(found) == 3
        assert found[0][:3] == ["1", "1.0000", name]
        cosines = [float(row[1]) for row in found]
        assert cosines == sorted(cosines, reverse=True)


def test_search_can_be_limited_to_a_modality(table: Path, model: Path):
    _, said, _ = run("search", "a reel", table.parent, "--model", model, "--modality", "abc")
    assert {row[2] for row in lines_of(said)} == {"a.abc", "sub/B.MusicXML"}


def test_a_folder_of_raw_files_is_embedded_first(table: Path, music: Path, model: Path):
    _, said, _ = run("search", "a reel", music, "--model", model)
    _, expected, _ = run("search", "a reel", table, "--model", model)
    assert said == expected
    assert len(lines_of(said)) == 7


def test_vectors_of_another_model_are_refused(table: Path, loaded: LoadedClamp, tmp_path: Path):
    other = tiny_model(MelFrontEnd.feature_size)
    next(other.model.parameters()).data[0] += 1
    save_checkpoint(other.model, tmp_path / "other", tokenizer=other.tokenizer)
    code, _, said = run("search", "a reel", table, "--model", tmp_path / "other")
    assert code == 1
    assert "vectors of two models cannot be compared" in said


@pytest.mark.parametrize(
    ("query", "where", "message"),
    [
        (" ", "tables", "the query is empty"),
        ("a", "missing", "no such file or folder"),
        ("a", "my music/a.txt", "not a readable Parquet file"),
        ("my music/broken.mid", "tables", "broken.mid: "),
        ("a", "empty", "neither tables of embeddings nor files"),
    ],
)
def test_search_says_what_is_wrong(
    query: str, where: str, message: str, table: Path, model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(table.parent.parent)
    Path("empty").mkdir()
    code, said, error = run("search", query, where, "--model", model)
    assert (code, said) == (1, "")
    assert message in error
    assert "Traceback" not in error


def test_convert_to_each_form(music: Path, tmp_path: Path):
    wanted = {
        "abc": ["a.abc", "sub/B.abc"],
        "interleaved": ["a.abc", "sub/B.abc"],
        "mtf": ["a.mtf", "sub/c.mtf"],
        "midi": ["a.mid", "sub/c.mid"],
    }
    for target, names in wanted.items():
        out = tmp_path / target
        code, _, said = run("convert", music, "--to", target, "--out", out, "--workers", 1)
        assert code == 0
        written = [p.relative_to(out).as_posix() for p in sorted(out.rglob("*.*")) if p.is_file()]
        visible = [name for name in written if not name.startswith(".")]
        assert visible == sorted([*names, "rejected.tsv", "skipped.tsv"])
        rejected, skipped = (table_of(out / name) for name in ("rejected.tsv", "skipped.tsv"))
        assert f"in 11, out 2, rejected {len(rejected)} (see {out}/rejected.tsv)" in said
        assert 2 + len(rejected) + len(skipped) == 11
        assert {row[0] for row in skipped} == {
            ".hidden.abc",
            "a.txt",
            "notes.pdf",
            "sub/d.npy",
        }
    assert (tmp_path / "abc/a.abc").read_text(encoding="utf-8") == STANDARD
    assert (tmp_path / "interleaved/a.abc").read_text(encoding="utf-8") == INTERLEAVED
    assert (tmp_path / "interleaved/sub/B.abc").read_text(encoding="utf-8").count("[V:1]") == 1
    assert (tmp_path / "mtf/sub/c.mtf").read_text(encoding="utf-8").startswith("ticks_per_beat 480")
    assert (tmp_path / "midi/sub/c.mid").read_bytes() == (music / "sub/c.mid").read_bytes()
    assert mido.MidiFile(tmp_path / "midi/a.mid").ticks_per_beat == 480


def table_of(path: Path) -> list[list[str]]:
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    assert head == "path\tkind\treason"
    return [line.split("\t") for line in lines]


def test_convert_fails_when_everything_failed(music: Path, tmp_path: Path):
    code, _, said = run("convert", music / "a.txt", "--to", "mtf", "--out", tmp_path / "out")
    assert code == 1
    assert said.strip() == f"in 1, out 0, rejected 1 (see {tmp_path / 'out/rejected.tsv'})"
    assert table_of(tmp_path / "out/rejected.tsv")[0][1] == "no_conversion"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing", "--to", "abc", "--out", "o"], "missing: no such file or folder"),
        (["a.abc", "--to", "abc", "--out", "a.mtf"], "a.mtf: cannot be written to"),
        ([".", "--to", "abc", "--out", "."], "choose another --out"),
        (["a.abc", "--to", "abc", "--out", "o", "--keep-metadata"], "--keep-metadata"),
    ],
)
def test_convert_says_what_is_wrong(
    words: list, message: str, music: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(music)
    code, _, said = run("convert", *words)
    assert code == 1
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert message in said


def test_convert_stopped_by_the_user_says_how_to_go_on(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("clamp3.data.file_conversion.convert_files", interrupted)
    code, _, said = run("convert", music, "--to", "abc", "--out", tmp_path / "out")
    assert code == 130
    assert "the same command does the rest" in said


def test_help_and_import_are_light():
    code = (
        "import sys; from clamp3.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'pyarrow', 'pydantic')))"
    )
    told = python("-c", code)
    for command in ("embed", "search", "convert"):
        assert command in told
    python("-m", "clamp3", "convert", "--help")
