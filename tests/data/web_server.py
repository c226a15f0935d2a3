"""A web server of this machine whose files, refusals and failures a test chooses."""

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """One file, and how the server misbehaves with it."""

    content: bytes
    tag: str | None = '"v1"'
    ranges: bool = True  # answers Range with a part
    break_after: int | None = None  # bytes of an answer, then the connection ends
    breaks: int = 1  # how many answers break off
    length: bool = True  # tells Content-Length
    chunked: bool = False  # in one chunk, of a length that is not told beforehand
    status: int = 200


@dataclass
class WebServer:
    """The files by path, and the requests so far: (path, Range header)."""

    address: str = ""
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def url(self, path):
        return f"{self.address}/{path}"


class QuietHandler(BaseHTTPRequestHandler):
    """Tells nobody of requests."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(handler):
    """The address of a server of this machine, which ends with the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_server(monkeypatch):
    """The WebServer, and an environment without proxies."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = WebServer()

    class Handler(QuietHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            state.requests.append((self.path.lstrip("/"), asked))
            served = state.files.get(self.path.lstrip("/"), Served(b"", status=404))
            if served.status != 200:
                self.send_error(served.status)
                return
            self._answer(served, self._start(served, asked))

        def _start(self, served, asked):
            """Where to begin: 0 unless a part was asked for of the version that is served."""
            found = re.fullmatch(r"bytes=(\d+)-", asked or "")
            same = self.headers.get("If-Range") in (None, served.tag)
            return int(found[1]) if found and served.ranges and same else 0

        def _answer(self, served, start):
            size, rest = len(served.content), served.content[start:]
            if start and start >= size:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            if served.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif served.length:
                self.send_header("Content-Length", str(len(rest)))
            if served.tag:
                self.send_header("ETag", served.tag)
            self.end_headers()
            size = f"{len(rest):x}\r\n".encode()
            end = b"\r\n0\r\n\r\n"
            if served.break_after is not None and served.breaks:
                served.breaks -= 1
                rest, end = rest[: served.break_after], b""
            self.wfile.write(size + rest + end if served.chunked else rest)
            self.close_connection = True

    with serving(Handler) as state.address:
        yield state
