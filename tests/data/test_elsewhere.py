"""Folders, archives and buckets are read alike: data sets, recordings, stores, and by commands."""

import json
import shutil
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from audio_settings import AUDIO
from raw_corpus import files_of, use_bucket, write_tar, write_zip
from s3_server import s3_server
from samples import put
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.config import AudioConfig
from clamp3.data.layouts import read_layout
from clamp3.data.piece_reader import PieceReader
from clamp3.data.raw_files import places
from clamp3.data.raw_files.folders import local_sources, names_below
from clamp3.data.raw_files.reading import RawFiles, speaking_of
from clamp3.data.rejected import read_rejected
from clamp3.data.store import Store
from clamp3.errors import ConfigError, DataError, FormatError
from clamp3.files import read_table, write_table
from clamp3.retrieval.features.rows import extract_features

MD5 = "0123456789abcdef0123456789abcde"
ABC = "X:1\r\nL:1/8\r\nM:4/4\r\nK:C\r\nCDEF GABc|\r\n"
CAPTIONS = """caption_id,track_id,caption,is_valid_subset,path
1,7,A slow song,True,00/7.mp3
2,8,A song that is not there,True,00/8.mp3
"""
CLIPS = """ytid,start_s,end_s,aspect_list,caption,is_audioset_eval,is_balanced_subset
abcdefghijk,30,40,['slow'],A slow clip,True,False
"""
TUNE = {"title": "T", "artist": "A", "genre": "jig", "description": "A jig.", "music": None}
LAYOUTS = {
    "lakh": "lmd_full",
    "labelled_scores": "labelled",
    "labelled_recordings": "labelled",
    "song_describer": "sdd/song_describer.csv",
    "musiccaps": "caps/musiccaps-public.csv",
    "wikimt": "wiki/wikimusictext.jsonl",
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a data set of each layout, recordings, a store and single pieces."""
    folder = tmp_path_factory.mktemp("here") / "all"
    for digit in "12":
        put(folder, f"lmd_full/{digit}/{digit}{MD5}.mid", b"MThd")
    put(folder, "lmd_full/2/elsewhere.mid", b"MThd")
    for name in ("jig/a.abc", "jig/empty.abc", "reel/b.ABC", "reel/.hidden.abc", "reel/c.wav"):
        put(folder / "labelled", name, "" if "empty" in name else ABC)
    put(folder, "sdd/song_describer.csv", CAPTIONS)
    put(folder, "sdd/audio/00/7.2min.mp3", b"x")
    put(folder, "caps/musiccaps-public.csv", CLIPS)
    put(folder, "caps/[abcdefghijk]-[30-40].wav", b"x")
    put(folder, "wiki/wikimusictext.jsonl", json.dumps(TUNE))
    put(folder, "wiki/scores/A - T.mxl", b"PK")
    wave = np.random.default_rng(0).normal(scale=0.1, size=24_000 * 6)
    (folder / "sound/pdmx").mkdir(parents=True)
    for name in ("pdmx/Qm1.wav", "pdmx/Qm2.flac", "pdmx/Qm3.wav", "Qm3.ogg"):
        soundfile.write(folder / "sound" / name, wave, 24_000)
    put(folder, "sound/pdmx/Qm4.wav", b"no sound")
    for number in range(2):
        rows = {"id": [f"pdmx/Qm{number}"], "mtf": [f"text {number}"]}
        write_table(folder / f"mtf/part-{number}.parquet", pa.table(rows))
    put(folder, "own/x.abc", ABC)
    np.save(folder / "own/x.npy", np.ones((3, 4), np.float32))
    return folder


@pytest.fixture(scope="module")
def s3(here):
    with s3_server("s3fs") as (endpoint, _):
        yield endpoint


KINDS = ["zip", "tar.gz", "memory", pytest.param("s3", marks=pytest.mark.long)]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=KINDS)
def there(request, here, tmp_path, monkeypatch):
    """The address of the same elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "WAITS_SECONDS", (0.01,))
    if request.param == "zip":
        yield str(write_zip(tmp_path / "all.zip", files_of(here)))
        return
    if request.param == "tar.gz":
        write_tar(tmp_path / "all.tar.gz", files_of(here), "w:gz")
        yield str(tmp_path / "all")  # the folder that it would unpack to
        return
    if request.param == "s3":
        use_bucket(monkeypatch, request.getfixturevalue("s3"))
    system = fsspec.filesystem(request.param)
    if not system.exists(f"{request.param}://music"):
        system.mkdir(f"{request.param}://music")
    for name, data in files_of(here).items():
        system.pipe_file(f"{request.param}://music/all/{name}", data)
    yield f"{request.param}://music/all"
    if request.param == "memory":
        system.store.clear()
        system.pseudo_dirs[:] = [""]


def told(value, address):
    return json.loads(json.dumps(value).replace(json.dumps(str(address))[1:-1], "AT"))


def test_what_lies_below(here, there):
    assert names_below(there) == names_below(here)
    labelled = "jig/a.abc jig/empty.abc reel/b.ABC reel/c.wav"
    assert names_below(f"{there}/labelled") == labelled.split()
    assert names_below(f"{there}/none") == []
    hidden = names_below(f"{there}/labelled", hidden=True)
    assert hidden == names_below(here / "labelled", hidden=True)
    assert "reel/.hidden.abc" in hidden


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_sets_of_every_layout(here, there, layout):
    found = []
    for address in (here, there):
        with RawFiles() as files:
            parsed = read_layout(layout, f"{address}/{LAYOUTS[layout]}", sizes_of=files.sizes)
            found.append(told(parsed, address))
            columns = [parsed.columns.get(f"{kind}_path", []) for kind in ("mxl", "mid", "audio")]
            assert all(files.sizes(path for paths in columns for path in paths if path))
    assert found[0] == found[1]
    assert len(found[0][0]["id"]) == (2 if layout in ("lakh", "labelled_scores") else 1)


def test_recordings(here, there, tmp_path):
    ids = [f"pdmx/Qm{number}" for number in range(1, 6)]
    named = [None, None, None, None, f"{there}/sound/pdmx/Qm1.wav"]
    write_table(tmp_path / "part.parquet", pa.table({"id": ids, "audio_path": named}))
    made = []
    for address in (here, there):
        table, rejected = tmp_path / "t.parquet", tmp_path / "r.parquet"
        settings = AudioConfig(**AUDIO)
        extract_features(tmp_path / "part.parquet", f"{address}/sound", table, rejected, settings)
        made.append((read_table(table), told(read_rejected([rejected]), address)))
    assert made[0][0].equals(made[1][0])
    assert made[0][0]["id"].to_pylist() == ["pdmx/Qm1", "pdmx/Qm2", "pdmx/Qm3", "pdmx/Qm5"]
    assert made[0][1] == made[1][1]
    assert [row[2] for row in made[0][1]] == ["unsupported_audio"]
    with pytest.raises(DataError, match="none: no such folder; expected sound files"):
        extract_features(tmp_path / "part.parquet", f"{there}/none", table, rejected, settings)


@pytest.mark.parametrize("largest", [0, 2**28])
def test_stores_and_pieces(there, largest, monkeypatch):
    if "://" not in there:
        pytest.skip("a store lies in a folder")
    monkeypatch.setattr("clamp3.data.store.IN_MEMORY_BYTES", largest)
    store = Store(f"{there}/mtf")
    assert (store.ids, store.get("pdmx/Qm1")) == (["pdmx/Qm0", "pdmx/Qm1"], "text 1")
    reader = PieceReader()
    wanted = [f"{there}/{name}" for name in ("own/x.npy", "mtf/pdmx/Qm1.mtf", "own/x.abc")]
    found = {name: reader.read(name) for name in wanted}
    assert found[wanted[1]] == "text 1"
    assert found[wanted[2]] == ABC.replace("\r\n", "\n")
    assert found[wanted[0]].tolist() == np.ones((3, 4)).tolist()
    streamed = dict(PieceReader().stream(wanted))
    assert str(streamed) == str({name: found[name] for name in streamed})
    assert len(streamed) == 3
    parts = [f"{there}/mtf/part-0.parquet", f"{there}/mtf/part-1.parquet"]
    assert reader.sources(wanted) == [wanted[0], *parts, wanted[2]]
    with pytest.raises(DataError, match=r"own/none\.abc: no such file"):
        reader.read(f"{there}/own/none.abc")
    with pytest.raises(DataError, match=r"own/none\.abc: no such file, and no store"):
        list(reader.stream([f"{there}/own/none.abc"]))
    with pytest.raises(DataError, match="no piece"):
        list(reader.stream([f"{there}/mtf/pdmx/Qm9.mtf"]))
    with pytest.raises(DataError, match="none: no part"):
        Store(f"{there}/none")


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output + (done.stderr or "")


def interleave(source, out):
    code, said = run("convert", source, "--workers", "1", "--to", "interleaved", "--out", out)
    assert code == 0, said
    return said


def test_convert_reads_from_there(here, there, tmp_path):
    outs = []
    for number, address in enumerate((here, there)):
        out = tmp_path / f"out{number}"
        interleave(f"{address}/labelled", out)
        outs.append({name: data for name, data in files_of(out).items() if name.endswith(".abc")})
        assert "empty_file" in (out / "rejected.tsv").read_text()
    assert outs[0] == outs[1]
    assert sorted(outs[0]) == ["jig/a.abc", "reel/b.abc"]
    assert "(2 there already)" in interleave(f"{there}/labelled", out)
    interleave(f"{there}/labelled/jig/a.abc", tmp_path / "one")
    assert (tmp_path / "one/a.abc").is_file()
    code, said = run("convert", f"{there}/none", "--to", "abc", "--out", tmp_path / "two")
    assert code == 1
    assert f"{there}/none: no such file" in said


def test_sources_keep_their_places_to_each_other(here, there):
    given = [f"{there}/own/x.npy", f"{there}/labelled/reel"]
    with local_sources(given) as [file, folder]:
        assert file.relative_to(folder.parent.parent) == Path("own/x.npy")
        assert [path.name for path in folder.iterdir() if path.suffix == ".ABC"] == ["b.ABC"]
        kept = folder
    assert not kept.exists()
    mixed = pytest.raises(ConfigError, match="name them in two commands")
    with mixed, local_sources([*given, str(here)]):
        pass
    bad = pytest.raises(DataError, match=f"^{there}/own/x.npy: bad$")
    with bad, local_sources(given[:1]) as [copy]:
        raise DataError(f"{copy}: bad")


def test_figures_of_embeddings_that_lie_there(here, there, tmp_path):
    """Folders of .npy files, and tables, score as they do here."""
    folder = tmp_path / "e"
    for side in ("a", "b"):
        for number in range(3):
            (folder / side).mkdir(parents=True, exist_ok=True)
            row = np.eye(3, dtype=np.float32)[number : number + 1]
            np.save(folder / side / f"{number}.npy", row)
    expected = run("evaluate", folder / "a", folder / "b")
    assert expected[0] == 0, expected[1]
    if "://" in there:
        system = fsspec.filesystem(there.partition(":")[0])
        for name, data in files_of(folder).items():
            system.pipe_file(f"{there}/e/{name}", data)
        place = f"{there}/e"
    else:
        place = str(write_zip(tmp_path / "e.zip", files_of(folder)))
        shutil.rmtree(folder)
    assert run("evaluate", f"{place}/a", f"{place}/b") == expected
    assert run("score", f"{place}/a", f"{place}/b", "--json", tmp_path / "r.json")[0] == 0
    assert json.loads((tmp_path / "r.json").read_text())["first"] == f"{place}/a"


@pytest.mark.parametrize(
    "words",
    [
        "convert {here} --to abc --out s3://bucket/out",
        "embed {here} s3://bucket/out.parquet --model x",
        "index build s3://bucket/index {here}/t.parquet",
        "evaluate {here} {here} --json s3://bucket/r.json",
    ],
)
def test_what_is_written_is_written_here(here, words):
    code, said = run(*words.format(here=here).split())
    assert code == 1
    assert "s3://bucket/" in said
    assert "expected a path of this machine" in " ".join(said.split())
    assert not Path("s3:").exists()
    assert pq.read_metadata(here / "mtf/part-0.parquet").num_rows == 1


def test_copies_stay_in_the_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    write_zip(tmp_path / "sc.zip", {"scores/a.abc": ABC.encode()})
    monkeypatch.chdir(tmp_path / "work")
    before = {*Path(tempfile.gettempdir()).glob("*")}
    with local_sources(["../sc.zip"]) as (copy,):
        (own,) = {*Path(tempfile.gettempdir()).glob("clamp3-*")} - before
        assert copy.is_relative_to(own)
        assert [path.name for path in copy.rglob("*.abc")] == ["a.abc"]
    assert {path.name for path in tmp_path.iterdir()} == {"work", "sc.zip"}
    assert not own.exists()


def test_what_is_wrong_with_a_copy_is_said_of_the_address():
    copy = Path("/tmp/x/piece.abc")
    said = pytest.raises(FormatError, match=r"^wrong\.abc: empty$")
    with said, speaking_of("wrong.abc", copy):
        raise FormatError("empty_file", f"{copy}: empty")
