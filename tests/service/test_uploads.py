"""Uploads: counted while they arrive, and never left behind."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest
from service.live import Live, form, serving
from service.slow_reading import SlowReader

from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.service.embedding import WarmModel
from clamp3.service.forms import suffix_of, told_name

KIB = 2**10


@pytest.fixture(scope="module")
def small(model: Embedder, index: Path):
    with serving(model, index, upload_bytes=200 * KIB) as running:
        yield running


def send(live: Live, body: object, **headers: str):
    headers = {"content-type": "multipart/form-data; boundary=x"} | headers
    return live.client.post("/api/search", content=body, headers=headers)


@contextlib.contextmanager
def connection(live: Live, head: str):
    with socket.create_connection(("127.0.0.1", live.port)) as line:
        line.sendall(
            f"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n\r\n".encode("latin-1")
        )
        yield line


FORM = "Content-Type: multipart/form-data; boundary=x"


@pytest.mark.parametrize("chunked", [True, False])
def test_too_much_is_refused(small: Live, chunked: bool):
    body = form(b"x" * 400 * KIB)
    content = (body[start : start + KIB] for start in range(0, len(body), KIB)) if chunked else body
    answer = send(small, content)
    assert answer.status_code == 413
    assert answer.json() == {
        "error": "the file is too large; at most 0.195 MiB are read",
        "kind": "too_large",
    }
    small.wait_until_empty()


def test_the_file_counts_not_its_envelope(small: Live):
    assert send(small, form(b"x" * 201 * KIB)).status_code == 413
    assert send(small, form(b"a tune " * 25 * KIB, "a.txt")).status_code == 200


def test_what_content_length_says_does_not_count(small: Live):
    with connection(small, f"{FORM}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5") as line:
        line.sendall(b"FFFFFFF\r\n" + b"x" * 100)
        line.settimeout(10)
        assert b" 400 " in line.recv(KIB)[:20]
    with connection(small, f"{FORM}\r\nContent-Length: 100000000000") as line:
        with contextlib.suppress(OSError):
            for _ in range(600):
                line.sendall(b"y" * KIB)
        line.settimeout(10)
        assert b" 4" in line.recv(KIB)[:20]
    small.wait_until_empty()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"--x--\r\n", {}, 400),
        (form(b"a")[:-9], {}, 400),
        (form(b"a", boundary="y"), {}, 400),
        (form(b"a").replace(b'name="file"', b'name="fail"'), {}, 400),
        (form(b"a").replace(b'; filename="a.abc"', b""), {}, 400),
        (form(b"a")[: -len("--x--\r\n")] + form(b"b"), {}, 400),
        (b"\x00" * 999, {}, 400),
        (form(b"a"), {"content-type": "multipart/form-data"}, 400),
        (form(b"a"), {"content-type": "multipart/form-data; boundary="}, 400),
        (form(b"a"), {"content-type": "multipart/form-data; boundary=" + "x" * 500}, 400),
        (b"file=a", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"content-type": "application/json"}, 415),
    ],
)
def test_what_is_no_form_is_refused(small: Live, body: bytes, headers: dict, status: int):
    answer = send(small, body, **headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "kind"}
    small.wait_until_empty()


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd.abc",
        "..\\..\\x.abc",
        "/etc/passwd",
        "a\x00b.abc",
        "ü" * 300 + ".abc",
        ".",
    ],
)
def test_names_lead_nowhere(small: Live, music: Path, name: str):
    body = form((music / "scores/1.abc").read_bytes()).replace(b"a.abc", name.encode())
    answer = send(small, body)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        told = answer.json()["query"]["file"]
        assert "/" not in told
        assert len(told) <= 100
    small.wait_until_empty()


def test_told_names_are_short_and_plain():
    assert told_name("folder/tune.abc") == "tune.abc"
    assert told_name("C:\\music\\tune.abc") == "tune.abc"
    assert told_name("") == told_name("..\x00/") == "the file"
    assert told_name("evil\u202egpj.exe\n") == "evilgpj.exe"
    assert len(told_name("a" * 5000 + ".abc")) == 100
    assert told_name("a" * 5000 + ".abc").endswith(".abc")
    assert suffix_of("tune.ABC") == ".ABC"
    assert suffix_of("tune") == suffix_of("x.a/b") == suffix_of("x." + "a" * 40) == ""


def test_a_client_that_goes_away_leaves_nothing(small: Live):
    for sent in (0, 40, 100 * KIB):
        with connection(small, f"{FORM}\r\nContent-Length: 150000") as line:
            line.sendall(form(b"x" * 150_000)[:sent])
    small.wait_until_empty()
    assert small.client.get("/api/health").status_code == 200


def test_a_slow_upload_ends_in_time(model: Embedder, index: Path):
    with (
        serving(model, index, seconds=1.0) as live,
        connection(live, f"{FORM}\r\nContent-Length: 150000") as line,
    ):
        start = time.monotonic()
        line.sendall(form(b"x" * 150_000)[:5000])
        line.settimeout(10)
        head = line.recv(KIB)
        assert b" 503 " in head[:20]
        assert b"retry-after: 5" in head.lower()
        assert time.monotonic() - start < 5


def test_a_file_that_takes_too_long_blocks_no_other(
    model: Embedder, index: Path, monkeypatch: pytest.MonkeyPatch
):
    fast = WarmModel.upload_reader
    monkeypatch.setattr(
        WarmModel, "upload_reader", lambda self, seconds: SlowReader(fast(self, seconds))
    )
    with serving(model, index, seconds=3.0, readers=2) as live:
        answers = []
        send(live, form(b"X:1\nK:C\nCDE|\n"))  # the processes have started
        slow = threading.Thread(target=lambda: answers.append(send(live, form(b"slow", "a.txt"))))
        slow.start()
        time.sleep(0.5)
        assert live.left_over() != []
        start = time.monotonic()
        assert send(live, form(b"a reel", "a.txt")).status_code == 200
        assert live.client.get("/api/search", params={"text": "a"}).status_code == 200
        assert time.monotonic() - start < 2
        slow.join(15)
        assert answers[0].status_code == 503
        assert answers[0].json()["kind"] == "timed_out"
        live.wait_until_empty()
        assert send(live, form(b"a reel", "a.txt")).status_code == 200


def test_the_end_of_the_service_removes_uploads(model: Embedder, index: Path):
    with (
        serving(model, index) as live,
        connection(live, f"{FORM}\r\nContent-Length: 150000") as line,
    ):
        line.sendall(form(b"x" * 150_000)[:5000])
        time.sleep(0.2)
        live.service.uploads.path.joinpath("forgotten").mkdir()
    # `serving` looks into the folder
