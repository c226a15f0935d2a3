"""The list of data sets, and `clamp3 download` from end to end against a server of this machine."""

import hashlib

import pytest
import yaml
from raw_corpus import files_of, write_tar
from typer.testing import CliRunner
from web_server import Served, web_server

from clamp3.cli import app
from clamp3.config import LAYOUTS
from clamp3.data.data_sets import find_data_set, read_registry
from clamp3.errors import ConfigError, DataError


def described(name, **more):
    known = {"title": name.title(), "what": "two files", "home": f"https://home.example/{name}"}
    return known | {"citation": "Nobody, 2026", "licence": "CC0-1.0"} | more


MANUAL = described("manual", by_hand="Ask on the home page and put it into FOLDER.")


def test_every_data_set_says_what_it_is():
    registry = read_registry()
    assert {"pdmx", "wikimt", "wikimt_x", "midicaps", "lakh_full", "lakh_matched"} <= set(registry)
    assert {data_set.layout for data_set in registry.values()} >= set(LAYOUTS) - {"labelled_scores"}
    for name, data_set in registry.items():
        assert name == name.lower()
        assert data_set.home.startswith("https://"), name
        assert len({file.path for file in data_set.files}) == len(data_set.files)
        assert bool(data_set.layout) == bool(data_set.path), name
        fetched = [file.path for file in data_set.files if not file.unpack]
        is_list = data_set.layout and "." in (data_set.path or "").strip(".")
        assert not is_list or data_set.path in fetched, name


def test_names_are_found_whatever_their_dashes():
    registry = read_registry()
    assert find_data_set("WikiMT-X", registry)[0] == "wikimt_x"
    with pytest.raises(ConfigError, match="no data set 'wikimtx'; there are: pdmx, wikimt"):
        find_data_set("wikimtx", registry)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("- a", DataError, "expected data sets by name"),
        ("a: [", DataError, "not a list of data sets"),
        ("a: {title: b}", ConfigError, r"a: .*what: Field required"),
        (yaml.safe_dump({"a": MANUAL | {"by_hand": None}}), ConfigError, "nobody could"),
        (yaml.safe_dump({"a": MANUAL | {"colour": 1}}), ConfigError, "colour: Extra"),
        (yaml.safe_dump({"a": MANUAL | {"layout": "x"}}), ConfigError, "layout"),
    ],
)
def test_a_faulty_list_is_an_error(tmp_path, text, error, message):
    (tmp_path / "sets.yaml").write_text(text)
    with pytest.raises(error, match=message):
        read_registry(tmp_path / "sets.yaml")


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with web_server(monkeypatch) as state:
        yield state


@pytest.fixture
def download(server, tmp_path):
    """`clamp3 download` with a list of two data sets."""
    names = ("lmd_full/1/a.mid", "lmd_full/2/b.mid")
    archive = write_tar(tmp_path / "a", dict.fromkeys(names, b"MThd"), "w:gz")
    server.files["a.tar.gz"] = Served(archive.read_bytes())
    server.files["list.json"] = Served(b"{}")
    archive.unlink()
    files = [
        {"url": server.url("a.tar.gz"), "path": "a.tar.gz", "unpack": True, "about_bytes": 200},
        {"url": server.url("list.json"), "path": "list.json", "bytes": 2, "md5": md5(b"{}")},
    ]
    tiny = described("tiny", layout="lakh", path="lmd_full", files=files)
    sets = yaml.safe_dump({"tiny": tiny, "manual": MANUAL}, sort_keys=False)
    (tmp_path / "sets.yaml").write_text(sets)

    def run(*arguments, answer=None):
        return CliRunner().invoke(
            app, ["download", *arguments, "--registry", "sets.yaml"], input=answer
        )

    return run


def md5(content):
    return hashlib.md5(content).hexdigest()


def found(folder):
    return sorted(files_of(folder))


FETCHED = [".a.tar.gz.unpacked", "a.tar.gz", "list.json", "lmd_full/1/a.mid", "lmd_full/2/b.mid"]


def test_a_data_set_is_fetched_and_unpacked(download, server, tmp_path):
    done = download("tiny", "--yes")
    assert done.exit_code == 0, done.output
    assert found(tmp_path / "data/tiny") == FETCHED
    for told in ("CC0-1.0", "https://home.example/tiny", "Nobody, 2026", server.url("a.tar.gz")):
        assert told in done.output
    assert "about 200 B, nothing to check it by" in done.output
    assert "2 bytes, checked by size and md5" in done.output
    assert "tiny: {layout: lakh, path: data/tiny/lmd_full}" in done.output


def test_the_second_time_nothing_is_fetched_or_unpacked(download, server, tmp_path):
    download("tiny", "--yes", "--out", "here")
    (tmp_path / "here/lmd_full/1/a.mid").unlink()
    server.requests.clear()
    assert download("tiny", "--yes", "--out", "here").exit_code == 0
    assert server.requests == []
    assert "lmd_full/1/a.mid" not in found(tmp_path / "here")


def test_an_archive_may_be_deleted_when_it_is_unpacked(download, server, tmp_path):
    download("tiny", "--yes")
    (tmp_path / "data/tiny/a.tar.gz").unlink()
    server.requests.clear()
    assert download("tiny", "--yes").exit_code == 0
    assert server.requests == []
    (tmp_path / "data/tiny/.a.tar.gz.unpacked").unlink()
    assert download("tiny", "--yes").exit_code == 0
    assert found(tmp_path / "data/tiny") == FETCHED


def test_nothing_is_fetched_without_consent(download, server, tmp_path):
    done = download("tiny")
    assert done.exit_code == 1
    assert "no terminal to ask on; if you accept the licence, say --yes" in done.output
    assert "CC0-1.0" in done.output
    assert server.requests == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("answer", "files"), [("y\n", 5), ("n\n", 0), ("\n", 0)])
def test_a_person_is_asked(download, server, tmp_path, monkeypatch, answer, files):
    monkeypatch.setattr("clamp3.commands.download._is_terminal", lambda: True)
    done = download("tiny", answer=answer)
    assert "Download Tiny? [y/N]" in done.output
    assert done.exit_code == (0 if files else 1)
    assert len(found(tmp_path / "data")) == files


def test_what_has_to_be_done_by_hand_is_told(download, server):
    done = download("manual", "--out", "there")
    assert done.exit_code == 0
    assert "By hand: Ask on the home page and put it into there." in done.output
    assert server.requests == []


def test_all_are_listed(download):
    lines = download("--list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["tiny", "manual"]
    assert "by hand" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "which data set"), (("big", "--yes"), "no data set 'big'; there are: tiny, manual")],
)
def test_faulty_calls(download, arguments, message):
    done = download(*arguments)
    assert done.exit_code == 1
    assert message in done.output


def test_a_failure_is_one_line_and_the_next_call_goes_on(download, server, tmp_path):
    server.files["list.json"].status = 404
    done = download("tiny", "--yes")
    assert done.exit_code == 1
    assert "HTTP 404" in done.output.splitlines()[-1]
    assert "Traceback" not in done.output
    server.files["list.json"].status = 200
    server.requests.clear()
    assert download("tiny", "--yes").exit_code == 0
    assert server.requests == [("list.json", None)]
    assert found(tmp_path / "data/tiny") == FETCHED


def test_an_evil_archive_leaves_no_trace_outside(download, server, tmp_path):
    evil = write_tar(tmp_path / "evil", {"../../outside": b"x"}, "w:gz")
    server.files["a.tar.gz"] = Served(evil.read_bytes())
    done = download("tiny", "--yes")
    assert done.exit_code == 1
    assert "would leave the folder" in done.output
    assert not (tmp_path / "outside").exists()
