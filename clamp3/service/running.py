"""Running the service: an address to listen at, logs, and an end that leaves nothing behind."""

import contextlib
import ipaddress
import logging
import socket
import threading
import webbrowser
from dataclasses import dataclass, replace
from logging.handlers import WatchedFileHandler
from pathlib import Path

import uvicorn

from clamp3.errors import ConfigError
from clamp3.logs import FORMAT
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.service.app import create_app
from clamp3.service.settings import LOOPBACK_HOSTS, Settings

log = logging.getLogger(__name__)
FAREWELL_SECONDS = 5  # for requests under way
# A typed query at its longest, percent-encoded, and a client's headers.
MOST_HEADER_BYTES = 96 * 2**10


@dataclass(frozen=True)
class Address:
    """Where to listen. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def listen(self) -> socket.socket:
        """A socket bound to it. Raises ConfigError where that cannot be."""
        try:
            family, *_, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise self._refused(error) from error
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(place)
        except OSError as error:
            bound.close()
            raise self._refused(error) from error
        return bound

    def _refused(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"cannot listen at {self.host} port {self.port}: {error.strerror or error}; is it in "
            "use? Name another one with --port"
        )


def serve(
    model: Embedder | ClapEmbedder,
    index_folder: Path,
    settings: Settings,
    address: Address,
    *,
    open_browser: bool = False,
) -> None:
    """Answer requests until SIGINT or SIGTERM.

    Requests under way then have FAREWELL_SECONDS. Where only this machine can reach the address,
    it is asked by its own names alone; elsewhere by any, and a token is advised.

    Raises what `create_app` does, and ConfigError where the address cannot be had.
    """
    hosts = (*LOOPBACK_HOSTS, address.host) if address.is_loopback else None
    app = create_app(model, index_folder, replace(settings, hosts=hosts))
    with contextlib.closing(address.listen()) as bound:
        port = bound.getsockname()[1]
        name = f"[{address.host}]" if ":" in address.host else address.host
        url = f"http://{name}:{port}/"
        if hosts is None and settings.token is None:
            log.warning("%s can be reached by others, and no token is asked for", url)
        server = _Server(configuration(app), url, open_browser)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[bound])


def log_to(path: Path | None) -> None:
    """Log to stderr, and to a file that may be moved away meanwhile; what it holds stays."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(WatchedFileHandler(path, encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=handlers, force=True)
    for name in ("uvicorn.error", "uvicorn.access"):  # the gate tells of requests
        logging.getLogger(name).setLevel(logging.WARNING)


def configuration(app: object) -> uvicorn.Config:
    """What uvicorn is told."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # the gate keeps one
        server_header=False,
        proxy_headers=False,
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    )


class _Server(uvicorn.Server):
    """Tells where it listens when it does."""

    def __init__(self, config: uvicorn.Config, url: str, open_browser: bool):
        super().__init__(config)
        self._url = url
        self._open_browser = open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start; see uvicorn."""
        await super().startup(sockets)
        if self.started:
            log.info("serving %s", self._url)
            if self._open_browser:
                threading.Thread(target=webbrowser.open, args=(self._url,), daemon=True).start()
