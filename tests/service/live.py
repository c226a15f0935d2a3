"""A service that really listens, in a thread of the test."""

import contextlib
import http.client
import logging
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import uvicorn
from waiting import wait_for

from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.service.app import create_app
from clamp3.service.running import Address, configuration
from clamp3.service.settings import Settings

SMALL = Settings(readers=1, seconds=20.0)


@dataclass(frozen=True)
class Live:
    """A running service, a client of it, and the folder where its uploads lie."""

    app: object
    client: httpx.Client
    port: int
    temporary: Path

    @property
    def service(self):
        return self.app.state.service

    def left_over(self) -> list[Path]:
        """What lies in the folder of uploads."""
        return [path for path in self.temporary.rglob("*") if path.is_file()]

    def wait_until_empty(self) -> None:
        """Fails where an upload is left."""
        wait_for(lambda: not self.left_over(), 5)

    def search(self, expect: int = 200, **asked: object) -> dict:
        """What a search answers."""
        answer = self.client.get("/api/search", params=asked)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def upload(self, name: str, content: bytes, **asked: object) -> httpx.Response:
        """The answer to a file."""
        return self.client.post("/api/search", params=asked, files={"file": (name, content)})

    def raw(self, method: str, target: str, **headers: str) -> tuple[int, bytes]:
        """The answer to a request whose target is sent as it stands."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as line:
            line.putrequest(method, target, skip_host="Host" in headers)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            answer = line.getresponse()
            return answer.status, answer.read()


def form(content: bytes, name: str = "a.abc", boundary: str = "x") -> bytes:
    """The body of a form with a file."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


@contextlib.contextmanager
def serving(
    model: Embedder, index: Path, settings: Settings = SMALL, **changes: object
) -> Iterator[Live]:
    """A service until the block ends."""
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, _temporary(Path(folder)):
        app = create_app(model, index, replace(settings, **changes))
        server = uvicorn.Server(configuration(app))
        server.config.timeout_graceful_shutdown = 2
        bound = Address(port=0).listen()
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        port = bound.getsockname()[1]
        thread.start()
        wait_for(lambda: server.started or not thread.is_alive())
        assert server.started
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        try:
            yield Live(app, client, port, Path(folder))
        finally:
            client.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
            assert list(Path(folder).iterdir()) == []


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
