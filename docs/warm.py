"""`clamp3` from a process that has its imports behind it, so that fifty commands take no minutes.

    python docs/warm.py SOCKET

waits at a Unix socket; each command that comes is run by the command line itself in a fork, with
the arguments, folder, environment and files of whoever called `CLIENT`.
"""

import json
import os
import signal
import socket
import sys
import traceback

CLIENT = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    told = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(told).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(told)
    sys.exit(server.recv(1)[0])
"""


def serve(path: str) -> None:
    """Run what comes, one command after the other, until this process is ended."""
    import clamp3.retrieval.embedding.command
    import clamp3.retrieval.embedding.embedder
    import clamp3.retrieval.search  # noqa: F401
    from clamp3.cli import app

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)
        while True:
            with server.accept()[0] as client:
                client.sendall(bytes([_run(app, client)]))


def _run(app, client: socket.socket) -> int:
    """The exit status of one command."""
    size, files, _, _ = socket.recv_fds(client, 4, 3)
    wanted = int.from_bytes(size, "big")
    told = b""
    while len(told) < wanted:
        told += client.recv(wanted - len(told))
    child = os.fork()
    if child == 0:
        _become(app, files, *json.loads(told))
    for file in files:
        os.close(file)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def _become(app, files: list[int], arguments: list[str], folder: str, settings: dict) -> None:
    """Be the command, and end with its status."""
    status = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(settings)
        sys.argv = arguments
        app()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
