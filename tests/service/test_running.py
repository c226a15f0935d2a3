"""`clamp3 serve` as a program: its start, its end, and what it says when it cannot."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner
from waiting import is_running, wait_for

from clamp3.cli import app
from clamp3.service.running import Address
from clamp3.service.uploads import UploadFolder


class Program:
    """A running `clamp3 serve` and what it says."""

    def __init__(self, *words: object, folder: Path, **environment: str):
        self.lines: list[str] = []
        self.url = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "clamp3", "serve", "--port", "0", *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "TMPDIR": str(folder), **environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for(lambda: self.url or self.process.poll() is not None)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"serving (http://\S+)", line):
                self.url = found[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until it has ended."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        self._reader.join(5)
        self.process.stderr.close()
        return time.monotonic() - start


def run(*words: object) -> tuple[int, str]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    result = CliRunner().invoke(app, ["serve", *map(str, words)])
    root.handlers[:] = before  # its own write to what is closed now
    root.setLevel(level)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


@pytest.fixture
def started():
    """Programs that end with the test."""
    programs: list[Program] = []
    yield programs
    for program in programs:
        if program.process.poll() is None:
            program.end(signal.SIGKILL)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_it_serves_and_ends_at_once(
    model_folder: Path, index: Path, tmp_path: Path, number: signal.Signals, started: list
):
    words = ("--model", model_folder, "--index", index, "--readers", 1, "--log", "logs/serve.log")
    program = Program(*words, folder=tmp_path, CLAMP3_TOKEN="sesame")
    started.append(program)
    assert program.url.startswith("http://127.0.0.1:"), program.lines
    headers = {"Authorization": "Bearer sesame"}
    with httpx.Client(base_url=program.url, headers=headers, timeout=30) as client:
        assert client.get("api/search", params={"text": "a reel"}).json()["results"]
        files = {"file": ("a.txt", b"a reel")}
        assert client.post("api/search", files=files).json()["results"]
        assert client.get("api/info", headers={"Authorization": "x"}).status_code == 401
    workers = [child.pid for child in psutil.Process(program.process.pid).children()]
    assert workers
    assert list(tmp_path.glob("clamp3-serve-*"))
    assert program.end(number) < 6
    assert not list(tmp_path.glob("clamp3-serve-*"))
    wait_for(lambda: not any(map(is_running, workers)), 5)
    said = "".join(program.lines)
    assert "Traceback" not in said
    assert "sesame" not in said
    log = (tmp_path / "logs/serve.log").read_text(encoding="utf-8")
    assert "INFO clamp3.service.access: 127.0.0.1 GET /api/search 200" in log


@pytest.mark.long
def test_who_is_still_sending_does_not_keep_it(
    model_folder: Path, index: Path, tmp_path: Path, started: list
):
    program = Program("--model", model_folder, "--index", index, folder=tmp_path)
    started.append(program)
    head = (
        "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.abc"\r\n\r\nX:1'
    )
    with socket.create_connection(("127.0.0.1", int(program.url.split(":")[2][:-1]))) as line:
        line.sendall(head.encode())
        wait_for(lambda: list(tmp_path.glob("clamp3-serve-*/*/upload.abc")), 10)
        assert program.end() < 15
    assert not list(tmp_path.glob("clamp3-serve-*"))
    assert "Traceback" not in "".join(program.lines)


def test_without_the_demo_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path
):
    monkeypatch.chdir(tmp_path)
    code, said = run()
    assert code == 1
    assert "error: results/models/clamp3: not there; `make run` makes the demo's" in said
    code, said = run("--model", model_folder)
    assert code == 1
    assert "error: results/index: not there; `make run` makes the demo's" in said


def test_what_cannot_be_served_is_told_in_a_line(model_folder: Path, index: Path, tmp_path: Path):
    code, said = run("--model", model_folder, "--index", tmp_path)
    assert code == 1
    assert "no index" in said
    code, said = run("--model", tmp_path, "--index", index)
    assert code == 1
    assert "Traceback" not in said


def test_a_missing_extra_is_told(model_folder: Path, index: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, said = run("--model", model_folder, "--index", index)
    assert code == 1
    assert 'error: uvicorn is not installed: pip install "clamp3[serve]"' in said


def test_an_address_in_use_is_told(model_folder: Path, index: Path):
    with Address(port=0).listen() as bound:
        bound.listen()
        port = bound.getsockname()[1]
        code, said = run("--model", model_folder, "--index", index, "--port", port)
    assert code == 1
    assert f"error: cannot listen at 127.0.0.1 port {port}: " in said
    assert "--port" in said


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.5.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.4", False),
        ("music.example", False),
    ],
)
def test_addresses_of_this_machine_are_known(host: str, loopback: bool):
    assert Address(host).is_loopback == loopback


def test_the_temporary_folder_is_this_users_alone():
    uploads = UploadFolder()
    try:
        assert uploads.path.parent == Path(tempfile.gettempdir()).resolve()
        assert uploads.path.stat().st_mode & 0o077 == 0
    finally:
        uploads.close()
    assert not uploads._path
