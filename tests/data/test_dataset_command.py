"""`clamp3 dataset`: every layout becomes folders that the other commands read."""

import csv
import json
import shutil
from typing import get_args

import pytest
from samples import SAMPLES, json_lines, put
from typer.testing import CliRunner

from clamp3.cli import app
from clamp3.commands.dataset import Layout
from clamp3.config import LAYOUTS
from clamp3.data.manifests import read_manifest
from clamp3.retrieval.keys import name_key


def run(*arguments):
    return CliRunner().invoke(app, ["dataset", *map(str, arguments)])


def test_the_command_knows_every_layout():
    assert [*get_args(Layout)] == [*LAYOUTS, "m4_rag"]


@pytest.mark.parametrize("name", SAMPLES)
def test_texts_and_music_pair_by_name(tmp_path, name):
    sample = SAMPLES[name](tmp_path / "data")
    sample.break_it()
    done = run(sample.layout, sample.path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    kept = sample.rows - sample.left_out
    told = f"{sample.rows + 1} in, {kept} out, 1 rejected, {sample.left_out} left out"
    assert told in done.output
    music = sorted(path.name for path in (tmp_path / "out/music").iterdir())
    texts = sorted(path.name for path in (tmp_path / "out/texts").iterdir())
    assert len(music) == len({name_key(file) for file in music}) == kept
    assert {name_key(file) for file in texts} <= {name_key(file) for file in music}
    assert all((tmp_path / "out/music" / file).read_bytes() for file in music)
    pieces = [json.loads(line) for line in (tmp_path / "out/pieces.jsonl").read_text().splitlines()]
    assert len(pieces) == kept
    rejected = (tmp_path / "out/rejected.tsv").read_text().splitlines()
    assert len(rejected) == 2
    assert rejected[1].count("\t") == 3


def test_each_caption_is_a_query(tmp_path):
    sample = SAMPLES["song_describer"](tmp_path / "data")
    run("song_describer", sample.path, "--out", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/texts").iterdir())
    assert len(names) == 10
    assert names[:2] == ["1004030.description.1.txt", "1004030.description.2.txt"]
    assert (tmp_path / f"out/texts/{names[1]}").read_text() == 'A “5” song, "slow" and sad\n'


def test_all_four_texts_of_wikimt_x(tmp_path):
    sample = SAMPLES["wikimt_x"](tmp_path / "data")
    run("wikimt_x", sample.path, "--out", tmp_path / "out")
    assert len(list((tmp_path / "out/texts").iterdir())) == 40
    assert (tmp_path / "out/texts/-dQw4w9Wg03.scene.txt").read_text() == "The scene of 3.\n"


def test_labels_fit_the_music(tmp_path):
    sample = SAMPLES["labelled_recordings"](tmp_path / "data")
    run("labelled_recordings", sample.path, "--out", tmp_path / "out")
    with open(tmp_path / "out/labels.csv", newline="") as file:
        labels = {row["id"]: row["label"] for row in csv.DictReader(file)}
    assert set(labels) == {path.stem for path in (tmp_path / "out/music").iterdir()}
    assert labels["jazz_jazz_00001"] == "jazz"


def test_names_that_differ_by_dots_alone_stay_apart(tmp_path):
    for name in ("jazz_a.b.mid", "jazz_a_b.mid"):
        put(tmp_path / "data", name, b"MThd")
    run("labelled_performances", tmp_path / "data", "--out", tmp_path / "out")
    music = sorted(path.name for path in (tmp_path / "out/music").iterdir())
    assert music == ["jazz_a_b-2.mid", "jazz_a_b.mid"]


def test_a_manifest_is_cleaned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "a.abc", "X:1")
    lines = [{"id": "a", "filepaths": ["a.abc"], "title": "A"}, {"id": "b", "title": "B"}]
    path = put(tmp_path, "train.jsonl", json_lines(lines))
    done = run("m4_rag", path, "--out", tmp_path / "out")
    assert "2 in, 1 out, 1 rejected" in done.output
    assert [row["id"] for row in read_manifest(tmp_path / "out/manifest.jsonl")] == ["a"]


def test_faulty_calls_are_one_line(tmp_path):
    done = run("wikimt_x", tmp_path / "none.jsonl", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert not (tmp_path / "out").exists()
    assert run("nothing", "x", "--out", "y").exit_code == 2


def test_a_folder_of_the_user_is_not_replaced(tmp_path):
    put(tmp_path, "music/jazz/a.mid", b"MThd")
    done = run("labelled_performances", tmp_path / "music", "--out", tmp_path)
    assert done.exit_code == 1
    assert "holds files that were not written by this program" in done.output
    assert (tmp_path / "music/jazz/a.mid").is_file()
    words = ["labelled_performances", tmp_path / "music", "--out", tmp_path / "b"]
    assert [run(*words).exit_code for _ in range(2)] == [0, 0]  # what an earlier call wrote is


@pytest.mark.parametrize("name", ["song_describer", "midicaps"])
def test_music_out_of_an_archive_is_there(tmp_path, name):
    sample = SAMPLES[name](tmp_path / "data")
    shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path / "data")
    inside = tmp_path / "z" / sample.path.relative_to(tmp_path / "data")
    for path, out in ((sample.path, "plain"), (inside, "packed")):
        assert run(sample.layout, path, "--out", tmp_path / out).exit_code == 0
    plain, packed = (
        {path.name: path.read_bytes() for path in (tmp_path / out / "music").iterdir()}
        for out in ("plain", "packed")
    )
    assert plain == packed != {}
