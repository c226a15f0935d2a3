"""A service that really listens, in a thread of the test."""

import contextlib
import http.client
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import uvicorn

from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.service.app import create_app
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

    def wait_until_empty(self, seconds: float = 5) -> bool:
        end = time.monotonic() + seconds
        while self.left_over() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.left_over()

    def raw(self, method: str, target: str, **headers: str) -> tuple[int, bytes]:
        """The answer to a request whose target is sent as it stands."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port)) as line:
            line.putrequest(method, target, skip_host="Host" in headers)
            for name, value in headers.items():
                line.putheader(name, value)
            line.endheaders()
            answer = line.getresponse()
            return answer.status, answer.read()


@contextlib.contextmanager
def serving(
    model: Embedder, index: Path, settings: Settings = SMALL, **changes: object
) -> Iterator[Live]:
    """A service until the block ends."""
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, _temporary(Path(folder)):
        app = create_app(model, index, replace(settings, **changes))
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                port=0,
                log_config=None,
                access_log=False,
                http="h11",
                ws="none",
                timeout_graceful_shutdown=2,
                h11_max_incomplete_event_size=96 * 2**10,
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        end = time.monotonic() + 60
        while not server.started and thread.is_alive() and time.monotonic() < end:
            time.sleep(0.01)
        assert server.started
        port = server.servers[0].sockets[0].getsockname()[1]
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
