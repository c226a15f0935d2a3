"""An S3-compatible server on this machine."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
from waiting import wait_for


@contextmanager
def s3_server(client: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Its address, and its process; skips where moto or the `client` is not installed."""
    if not (find_spec("moto") and find_spec(client) and find_spec("flask")):
        pytest.skip(f"needs {client} and moto[server]: pip install -e '.[s3]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(server, port))
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.terminate()
        server.wait()
        if client == "s3fs":  # which would answer for the next server with this one's connection
            import s3fs

            s3fs.S3FileSystem.clear_instance_cache()


def _answers(server: subprocess.Popen, port: int) -> bool:
    assert server.poll() is None
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
