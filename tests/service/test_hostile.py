"""Random bodies, malformed forms and mutated files: only refusals, and the service lives on."""

import random
import socket
from pathlib import Path

import numpy as np
import pytest
from service.conftest import tune
from service.live import Live, form
from service.test_openapi import MODES, api, document, exercise  # noqa: F401 - fixtures

WITH_INPUT = ("GET /api/search", "POST /api/search", "GET /api/piece/{id}")
HEADER = "multipart/form-data; boundary=x"


def bodies(count: int, seeds: list[bytes]):
    """Forms with random content, or with random faults in the form itself."""
    source = random.Random(7)
    suffixes = (".abc", ".mid", ".mtf", ".musicxml", ".mxl", ".wav", ".npy", ".txt", ".png", "")
    for number in range(count):
        content = source.randbytes(source.choice((0, 1, 100, 5000)))
        if number % 3:
            content = damaged(source.choice(seeds), source.randint(1, 30), source)
        name = f"a{source.choice(suffixes)}"
        body = form(content, name)
        yield damaged(body, 5, source) if number % 5 == 0 else body


def damaged(content: bytes, bytes_changed: int, source: random.Random) -> bytes:
    """The beginning of the content, with some bytes changed."""
    changed = bytearray(content)
    for _ in range(bytes_changed):
        changed[source.randrange(len(changed))] = source.randrange(256)
    return bytes(changed[: source.randint(1, len(changed))])


def hostile(live: Live, music: Path, count: int) -> None:
    seeds = [
        tune(1).encode(),
        (music / "1.mid").read_bytes(),
        (music / "1.wav").read_bytes()[:9000],
    ]
    statuses = set()
    for body in bodies(count, seeds):
        answer = live.client.post(
            "/api/search", content=body, headers={"content-type": HEADER}, params={"top_k": 1}
        )
        statuses.add(answer.status_code)
        assert answer.status_code in (200, 400, 422), (answer.text, body[:200])
        if answer.status_code != 200:
            assert set(answer.json()) == {"error", "kind"}
            assert answer.json()["kind"] != "internal_error", (answer.text, body)
            for secret in (str(live.temporary), "clamp3-serve-", "Traceback", "/tmp/", "upload."):
                assert secret not in answer.text, (answer.text, body)
    assert statuses == {200, 400, 422}
    assert live.client.get("/api/health").status_code == 200
    live.wait_until_empty()


def test_some_random_bodies_are_refused_or_answered(live: Live, music: Path):
    hostile(live, music, 60)


@pytest.mark.long
def test_a_thousand_random_bodies_are_refused_or_answered(live: Live, music: Path):
    hostile(live, music, 1000)


@pytest.mark.long
@pytest.mark.parametrize("operation", WITH_INPUT)
@pytest.mark.parametrize("mode", MODES)
def test_many_requests_are_answered_as_documented(api, live: Live, operation: str, mode: str):  # noqa: F811
    exercise(api[operation], MODES[mode], 1000)
    assert live.client.get("/api/health").status_code == 200


def test_what_is_no_http_harms_nobody(live: Live):
    noise = np.random.default_rng(0)
    lines = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /api/search?text=" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        noise.bytes(2000),
    ]
    for line in lines:
        with socket.create_connection(("127.0.0.1", live.port)) as connection:
            connection.settimeout(5)
            try:
                connection.sendall(line + b"\r\n\r\n")
                answer = connection.recv(20)
            except (ConnectionError, TimeoutError):
                answer = b""
            assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 421")), line[:80]
    assert live.client.get("/api/health").status_code == 200
