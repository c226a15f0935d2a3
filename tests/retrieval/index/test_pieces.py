"""What an index shows and plays of its pieces, and that nothing else ever leaves it."""

import os
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from retrieval.commands import run
from retrieval.indexes import built, write_some

from clamp3.errors import DataError, FormatError
from clamp3.retrieval.index.piece_writer import inside
from clamp3.retrieval.index.pieces import open_pieces
from clamp3.retrieval.index.writer import add_to_index, delete_from_index

TUNE = "X:1\nT:The Kesh\nL:1/8\nM:6/8\nK:G\nGAG GAB|ABA ABd|\n"
VOICES = "X:1\nK:C\nV:1\nV:2\n[V:1]C8|D8|\n[V:2]c8|d8|\n"
MIDI = b"MThd\0\0\0\x06\0\0\0\x01\0\x60MTrk\0\0\0\x04\0\xff\x2f\0"
SOUND = (
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0"
)
SCORE = """<score-partwise><part-list><score-part id="P1"><part-name>a</part-name></score-part>
</part-list><part id="P1"><measure number="1"><attributes><divisions>1</divisions><key><fifths>0
</fifths></key><time><beats>4</beats><beat-type>4</beat-type></time></attributes><note><pitch>
<step>C</step><octave>4</octave></pitch><duration>4</duration></note></measure></part>
</score-partwise>"""
HOSTILE = [
    "../secret.abc",
    "a/../../secret.abc",
    "link.abc",
    "linked/secret.abc",
    "circle.abc",
    "nul\0.abc",
    "x" * 5000 + ".abc",
    "a/" * 3000 + "x.abc",
    "a",
    "",
    ".",
    "%2e%2e/secret.abc",
    "..\\secret.abc",
    "missing.abc",
]


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Own files: tunes, a score, MIDI, sound; beside the folder a secret, and links to it."""
    folder = tmp_path / "music"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "secret.abc").write_text(TUNE.replace("Kesh", "Secret"))
    (folder / "a/kesh.abc").write_text(TUNE)
    (folder / "a/bars.abc").write_text("L:1/8\nK:C\n[V:1]C8|[V:2]C,8|\n[V:1]c8|][V:2]C,8|]\n")
    (folder / "score.musicxml").write_text(SCORE)
    (folder / "broken.musicxml").write_text("<score-partwise><part>")
    (folder / "song.mid").write_bytes(MIDI)
    (folder / "song.wav").write_bytes(SOUND)
    (folder / unicodedata.normalize("NFD", "é tune.abc")).write_text(TUNE)
    (folder / "link.abc").symlink_to(tmp_path / "secret.abc")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "circle.abc").symlink_to(folder / "circle.abc")
    return folder


@pytest.fixture
def index(music: Path, tmp_path: Path) -> Path:
    """An index of those files, and of ids that would lead elsewhere."""
    own = ["a/kesh.abc", "a/bars.abc", "score.musicxml", "broken.musicxml", "song.mid", "song.wav"]
    ids = [*own, "é tune.abc", *HOSTILE, str(tmp_path / "secret.abc")]
    (tmp_path / "known.csv").write_text("id,genre,title\nsong.mid,pop,A song\n")
    return built(tmp_path, ids, metadata=[tmp_path / "known.csv"], files=[music])


def test_own_files_are_told_by_their_content(index: Path, music: Path):
    pieces = open_pieces(index)
    assert pieces.describe("a/kesh.abc") == {
        "id": "a/kesh.abc",
        "title": "The Kesh",
        "metadata": {},
        "formats": ["abc"],
    }
    assert pieces.describe("song.mid") == {
        "id": "song.mid",
        "title": "A song",
        "metadata": {"genre": "pop", "title": "A song"},
        "formats": ["midi"],
    }
    assert pieces.describe("song.wav")["formats"] == ["audio"]
    assert pieces.abc("a/kesh.abc") == TUNE
    assert pieces.abc("a/bars.abc").startswith("X:1\n")
    assert "V:2\n" in pieces.abc("a/bars.abc")
    (music / "a/bars.abc").write_text(VOICES)
    assert pieces.abc("a/bars.abc") == VOICES
    assert "K:C" in pieces.abc("score.musicxml")
    assert pieces.midi("song.mid") == (music / "song.mid").resolve()
    assert pieces.audio("song.wav") == (music / "song.wav").resolve()
    for form, name in ((pieces.midi, "song.wav"), (pieces.audio, "song.mid")):
        assert form(name) is None
    assert pieces.abc("song.mid") is None
    with pytest.raises(FormatError):
        pieces.abc("broken.musicxml")


def test_a_name_is_found_however_its_accents_are_written(index: Path):
    assert open_pieces(index).abc("é tune.abc") == TUNE


def test_an_id_never_leads_out_of_the_folders(index: Path, tmp_path: Path):
    pieces = open_pieces(index)
    for name in [*HOSTILE, str(tmp_path / "secret.abc")]:
        assert pieces.describe(name)["formats"] == [], name
        assert pieces.describe(name)["title"] is None, name
        assert pieces.abc(name) is None, name
        assert pieces.midi(name) is None, name
        assert pieces.audio(name) is None, name


@pytest.mark.parametrize("name", ["a/unlisted.abc", "../secret.abc ", "A/KESH.ABC", "\ud800"])
def test_an_id_that_no_row_has_is_told(index: Path, music: Path, name: str):
    (music / "a/unlisted.abc").write_text(TUNE)
    pieces = open_pieces(index)
    for ask in (pieces.describe, pieces.abc, pieces.midi, pieces.audio):
        with pytest.raises(DataError, match="no piece with the id"):
            ask(name)


def test_a_table_tells_what_files_do_not(music: Path, tmp_path: Path):
    (tmp_path / "pieces.csv").write_text(
        "id,title,midi,audio\none,First,music/song.mid,\ntwo,,,music/song.wav\n"
    )
    told = tmp_path / "pieces.csv"
    folder = built(tmp_path, ["one", "two", "song.wav"], files=[music], pieces=told)
    pieces = open_pieces(folder)
    assert pieces.describe("one")["title"] == "First"
    assert pieces.describe("one")["formats"] == ["midi"]
    assert pieces.midi("one") == (music / "song.mid").resolve()
    assert pieces.audio("two") == pieces.audio("song.wav") == (music / "song.wav").resolve()
    (music / "song.mid").unlink()
    (music / "song.mid").symlink_to(tmp_path / "secret.abc")  # after the index was made
    assert pieces.midi("one") is None
    assert open_pieces(folder).describe("one")["formats"] == []


def test_pieces_outlive_additions_and_deletions(music: Path, tmp_path: Path):
    write_some(tmp_path / "w.parquet", ["three"], seed=1)
    told = pa.table({"id": ["one", "two"], "abc": [TUNE, TUNE], "title": ["First", None]})
    place = tmp_path / "told.parquet"
    pa.parquet.write_table(told, place)
    folder = built(tmp_path, ["one", "two", "a/kesh.abc"], files=[music], pieces=place)
    add_to_index(folder, [tmp_path / "w.parquet"])
    delete_from_index(folder, ["two"])
    pieces = open_pieces(folder)
    assert pieces.abc("one") == pieces.abc("a/kesh.abc") == TUNE
    assert pieces.describe("three")["formats"] == []
    with pytest.raises(DataError, match="no piece"):
        pieces.abc("two")
    more = tmp_path / "more.jsonl"
    more.write_text('{"id": "three", "midi": "music/song.mid"}\n{"id": "one", "title": "New"}\n')
    add_to_index(folder, [tmp_path / "w.parquet"], pieces=more)
    pieces = open_pieces(folder)
    assert pieces.describe("three")["formats"] == ["midi"]
    found = pieces.describe("one")
    assert (found["id"], found["title"], found["formats"]) == ("one", "New", [])
    assert sorted(p.name for p in folder.glob("pieces-*")) == ["pieces-000004.arrow"]


def test_an_index_that_moves_together_with_its_files_goes_on(index: Path, tmp_path: Path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    os.rename(index, other / "index")
    assert open_pieces(other / "index").abc("a/kesh.abc") is None
    os.rename(tmp_path / "music", other / "music")
    assert open_pieces(other / "index").abc("a/kesh.abc") == TUNE


@pytest.mark.parametrize(
    ("cell", "files"),
    [("secret.abc", True), ("music/none.mid", True), ("music/song.mid", False), ("music", True)],
)
def test_a_table_may_only_name_files_in_the_folders(
    music: Path, tmp_path: Path, cell: str, files: bool
):
    told = tmp_path / "pieces.csv"
    told.write_text(f"id,midi\none,{cell}\n")
    with pytest.raises(DataError, match="no such file in the folders"):
        built(tmp_path, ["one"], files=[music] if files else [], pieces=told)
    assert not (tmp_path / "index/index.json").exists()


def test_wrong_arguments_are_told(tmp_path: Path):
    with pytest.raises(DataError, match="no such folder"):
        built(tmp_path, ["one"], files=[tmp_path / "none"])
    (tmp_path / "pieces.csv").write_text("name\none\n")
    with pytest.raises(DataError, match="columns name; expected id"):
        built(tmp_path, ["one"], pieces=tmp_path / "pieces.csv")


def test_an_index_without_files_shows_what_its_rows_know(tmp_path: Path):
    found = open_pieces(built(tmp_path, ["one"])).describe("one")
    assert found == {"id": "one", "title": None, "metadata": {}, "formats": []}
    assert inside(tmp_path / "v.parquet", []) is None


@pytest.mark.parametrize("name", ["pieces-000001.arrow", "map-000001.parquet"])
def test_damaged_tables_are_told(music: Path, tmp_path: Path, name: str):
    table = pa.table({name: ["one"] for name in ("id", "title", "abc")} | {
        name: pa.nulls(1, pa.string()) for name in ("midi", "audio")
    })  # fmt: skip
    folder = built(tmp_path, ["one"], pieces=table)
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    with pytest.raises(DataError, match="damaged"):
        open_pieces(folder)
    path.write_bytes(content[: len(content) // 2] + b"\xff" + content[len(content) // 2 + 1 :])
    with pytest.raises(DataError, match="damaged"):
        open_pieces(folder)._index.check()


def test_the_command_takes_files_and_pieces(music: Path, tmp_path: Path):
    write_some(tmp_path / "v.parquet", ["one", "a/kesh.abc"])
    write_some(tmp_path / "w.parquet", ["two"], seed=1)
    (tmp_path / "one.csv").write_text("id,midi\none,music/song.mid\n")
    (tmp_path / "two.csv").write_text("id,title\ntwo,Second\n")
    folder = tmp_path / "index"
    first = ["build", folder, tmp_path / "v.parquet", "--files", music]
    for words in (
        [*first, "--pieces", tmp_path / "one.csv"],
        ["add", folder, tmp_path / "w.parquet", "--pieces", tmp_path / "two.csv"],
        ["delete", folder, "one"],
    ):
        done = run("index", *words)
        assert done.exit_code == 0, done.output
    pieces = open_pieces(folder)
    assert pieces.describe("two")["title"] == "Second"
    assert pieces.abc("a/kesh.abc") == TUNE
    assert "files: ../music" in run("index", "info", folder).stdout
    done = run("index", *first, "--files", tmp_path / "no")
    assert done.exit_code == 1
    assert "no such folder" in done.output
