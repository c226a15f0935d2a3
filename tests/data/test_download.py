"""Downloads go on where they broke off, are what they should be, and fail with one sentence."""

import errno
import hashlib
import json
import random
import shutil
import socket
import threading

import pytest
from web_server import Served, web_server

from clamp3.data import download
from clamp3.data.data_sets import RemoteFile
from clamp3.data.download import download_file
from clamp3.errors import DataError

CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
def server(monkeypatch):
    with web_server(monkeypatch) as state:
        yield state


def remote(server, path="set.bin", **facts):
    return RemoteFile(url=server.url(path), path=path, **facts)


def begun(folder, content=CONTENT[:5000], **version):
    """The part that an earlier call left, of a version of the file, if that is known."""
    (folder / "set.bin.part").write_bytes(content)
    if version:
        (folder / "set.bin.part.version").write_text(json.dumps(version))


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("length", [True, False])
def test_a_file_is_fetched_once(server, tmp_path, length):
    server.files["set.bin"] = Served(CONTENT, length=length)
    told = []
    file = remote(server, bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    for _ in range(2):
        path = download_file(file, tmp_path, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == ["set.bin"]
    assert server.requests == [("set.bin", None)]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_broken_connection_is_taken_up_again(server, tmp_path):
    server.files["set.bin"] = Served(CONTENT, break_after=100_000, breaks=2)
    path = download_file(remote(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [
        ("set.bin", None),
        ("set.bin", "bytes=100000-"),
        ("set.bin", "bytes=200000-"),
    ]


def test_a_broken_answer_of_unknown_length_is_not_taken_for_whole(server, tmp_path):
    server.files["set.bin"] = Served(CONTENT, chunked=True, break_after=100_000, breaks=1)
    assert download_file(remote(server), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-"]


def test_the_next_call_goes_on_where_this_one_stopped(server, tmp_path):
    server.files["set.bin"] = Served(CONTENT, break_after=0, breaks=99)
    with pytest.raises(DataError, match=r"broke off at 0 bytes; the same command goes"):
        download_file(remote(server), tmp_path)
    server.files["set.bin"] = Served(CONTENT, break_after=50_000, breaks=99)
    with pytest.raises(DataError, match=r"broke off at 250000 bytes"):
        download_file(remote(server), tmp_path)
    assert left_in(tmp_path) == ["set.bin.part", "set.bin.part.version"]
    server.files["set.bin"] = Served(CONTENT)
    server.requests.clear()
    assert download_file(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("set.bin", "bytes=250000-")]
    assert left_in(tmp_path) == ["set.bin"]


@pytest.mark.parametrize(
    "now",
    [
        Served(CONTENT[::-1], tag='"v2"'),  # the file has changed meanwhile
        Served(CONTENT[::-1], ranges=False),  # this server sends no parts
        Served(CONTENT[:1000], tag='"v1"'),  # shorter than what is there
    ],
)
def test_parts_of_two_versions_are_never_joined(server, tmp_path, now):
    begun(tmp_path, tag='"v1"', total=len(CONTENT))
    server.files["set.bin"] = now
    assert download_file(remote(server), tmp_path).read_bytes() == now.content
    assert left_in(tmp_path) == ["set.bin"]


def test_without_tags_the_size_tells_the_version(server, tmp_path):
    for content in (CONTENT, CONTENT[:0:-1]):
        begun(tmp_path, tag="", total=len(CONTENT))
        server.files["set.bin"] = Served(content, tag=None)
        assert download_file(remote(server), tmp_path).read_bytes() == content
        assert server.requests[0] == ("set.bin", "bytes=5000-")
        (tmp_path / "set.bin").unlink()
    assert len(server.requests) == 3  # the second file was asked for again, whole


def test_a_part_is_gone_on_with_where_a_checksum_can_tell(server, tmp_path):
    begun(tmp_path)
    server.files["set.bin"] = Served(CONTENT, tag=None)
    file = remote(server, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert download_file(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("set.bin", "bytes=5000-")]


def test_a_part_without_a_version_is_fetched_anew(server, tmp_path):
    begun(tmp_path, b"of something else")
    server.files["set.bin"] = Served(CONTENT, tag=None)
    assert download_file(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("set.bin", None)]


def test_a_part_that_is_whole_is_taken(server, tmp_path):
    begun(tmp_path, CONTENT, tag='"v1"', total=len(CONTENT))
    server.files["set.bin"] = Served(CONTENT)
    assert download_file(remote(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["sha256", "md5"])
def test_a_wrong_checksum_is_refused_and_removed(server, tmp_path, name):
    server.files["set.bin"] = Served(CONTENT)
    wrong = hashlib.new(name, b"other").hexdigest()
    with pytest.raises(DataError, match=rf"removed: its {name} is [0-9a-f]+, expected {wrong}"):
        download_file(remote(server, **{name: wrong}), tmp_path)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("expected", [299_999, 300_001])
def test_another_size_is_refused(server, tmp_path, length, expected):
    server.files["set.bin"] = Served(CONTENT, length=length)
    with pytest.raises(DataError, match=rf"expected {expected}|more than {expected}"):
        download_file(remote(server, bytes=expected), tmp_path)
    assert not (tmp_path / "set.bin").exists()


def test_another_file_of_that_name_is_not_replaced(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"is there, but it is not the file of .*; move it away"):
        download_file(remote(server, bytes=len(CONTENT)), tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (404, "HTTP 404 Not Found; the server has no such file"),
        (401, "wants a login"),
        (403, "accept its terms"),
        (429, "too many requests"),
        (503, "try again later, what is there is kept"),
    ],
)
def test_refusals_say_what_to_do(server, tmp_path, status, advice):
    begun(tmp_path, CONTENT[:10])
    server.files["set.bin"] = Served(CONTENT, status=status)
    with pytest.raises(DataError, match=advice):
        download_file(remote(server), tmp_path)
    assert left_in(tmp_path) == ["set.bin.part"]


def test_no_connection(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    file = RemoteFile(url=f"http://127.0.0.1:{port}/a", path="a")
    with pytest.raises(DataError, match=r"no connection \(.*refused.*\). Check the network"):
        download_file(file, tmp_path)


def test_a_server_that_hangs_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a"

        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises(DataError, match="no connection"):
            download_file(RemoteFile(url=address, path="a"), tmp_path)
        thread.join()


def test_a_server_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        with pytest.raises(DataError, match=r"no connection \(.*timed out"):
            download_file(RemoteFile(url=address, path="a"), tmp_path)


def test_a_host_that_is_not_known(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DataError, match=r"no connection .*Name or service not known"):
        download_file(RemoteFile(url="https://none.example/a", path="a"), tmp_path)


def test_a_full_disk_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    server.files["set.bin"] = Served(CONTENT)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"disk is full \(300000 more bytes are needed and 1000"):
        download_file(remote(server), tmp_path)


def test_a_disk_that_fills_up_keeps_the_part(server, tmp_path, monkeypatch):
    server.files["set.bin"] = Served(CONTENT, break_after=100_000)

    def full(done, total):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"disk is full .*No space left"):
        download_file(remote(server), tmp_path, full)
    assert "set.bin.part" in left_in(tmp_path)
    assert download_file(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        download_file(remote(server), tmp_path / "data")


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", ""])
def test_files_stay_in_their_folder(path):
    with pytest.raises(ValueError, match="no path below"):
        RemoteFile(url="https://host/a", path=path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "host/a", "https:///a"])
def test_only_the_web_is_asked(url):
    with pytest.raises(ValueError, match="no http or https address"):
        RemoteFile(url=url, path="a")
