"""Models by their name on the hub, without a network: a cache, a hub of our own, a dead address."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from formula import clamp_model

from clamp3.models.checkpoints import save_checkpoint
from clamp3.models.hub import is_hub_name, resolve

REVISION = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_is_itself(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name("owner/name")
    assert str(resolve("owner/name")) == "owner/name"
    assert is_hub_name("other/name")
    for path in ("name", "a/b/c", "/owner/name", "./owner/other name"):
        assert not is_hub_name(path)


@pytest.mark.parametrize(
    ("towers", "patterns"),
    [
        ((), ["config.json"]),
        (["symbolic"], ["config.json", "symbolic.safetensors"]),
        (
            ["text"],
            ["config.json", "text.safetensors", "tokenizer.json", "tokenizer_config.json"],
        ),
        (None, ["config.json", "*.safetensors", "tokenizer.json", "tokenizer_config.json"]),
    ],
)
def test_only_what_is_needed_is_fetched(monkeypatch, tmp_path, towers, patterns):
    asked = {}

    def download(name, allow_patterns):
        asked[name] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert resolve("owner/name", towers) == tmp_path
    assert asked == {"owner/name": patterns}


def run(code, **environment):
    """The output of Python code in a process of its own: the library reads its settings once."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout.strip() or done.stderr


def test_a_model_in_the_cache_loads_without_a_network(tmp_path):
    repository = tmp_path / "models--owner--name"
    save_checkpoint(clamp_model("K"), repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    code = (
        "import clamp3\n"
        "model = clamp3.load_model('owner/name', towers=('symbolic',))\n"
        "print(model.embed(score='L:1/8\\nK:C\\nV:1 treble\\n[V:1]CDEF|\\n').shape)"
    )
    assert run(code, HF_HUB_CACHE=str(tmp_path), HF_HUB_OFFLINE="1") == "(32,)"


@pytest.mark.parametrize(
    "settings", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_an_unreachable_hub_is_one_sentence(tmp_path, settings):
    code = (
        "from clamp3.models.hub import resolve\n"
        "from clamp3.errors import CheckpointError\n"
        "try: resolve('owner/name')\n"
        "except CheckpointError as error: print(error)"
    )
    told = run(code, HF_HUB_CACHE=str(tmp_path), **settings)
    assert told.startswith("owner/name: "), told
    assert "fetched" in told
    assert "\n" not in told


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs; `server.folder` is the model `owner/name`."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        files = sorted(self.server.folder.iterdir())
        if path.startswith("/api/models/owner/name/revision"):
            names = [{"rfilename": file.name} for file in files]
            self.answer(json.dumps({"id": "owner/name", "sha": REVISION, "siblings": names}))
        elif path.startswith("/api/models/owner/name/tree"):
            listed = [{"type": "file", "path": f.name, "size": 1, "oid": "0" * 40} for f in files]
            self.answer(json.dumps(listed))
        elif path.startswith("/owner/name/resolve/"):
            self.send_file(self.server.folder / path.rpartition("/")[2])
        elif "silent/" in path:
            self.close_connection = True
        else:
            code = {"closed": 401, "broken": 500}.get(path.split("/")[-4], 404)
            self.answer("no", code, {"X-Error-Code": "RepoNotFound"} if code == 404 else {})

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, file):
        if self.command == "GET":
            self.server.sent.append(file.name)
        headers = {"ETag": f'"{file.name}"', "X-Repo-Commit": REVISION}
        self.answer(file.read_bytes(), headers=headers)

    def answer(self, body, code=200, headers=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in ({"Content-Length": len(body)} | (headers or {})).items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(tmp_path):
    """A server that answers as the hub, and the settings under which it is used."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.folder, server.sent = tmp_path / "published", []
        threading.Thread(target=server.serve_forever).start()
        server.settings = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
        }
        yield server
        server.shutdown()


def test_a_tower_is_fetched_once_and_alone(hub):
    save_checkpoint(clamp_model("K"), hub.folder)
    code = (
        "from clamp3.models.hub import resolve\n"
        "print(sorted(p.name for p in resolve('owner/name', ['symbolic']).iterdir()))"
    )
    for settings in ({}, {}, {"HF_HUB_OFFLINE": "1"}):
        told = run(code, **hub.settings | settings)
        assert told == "['config.json', 'symbolic.safetensors']"
        assert sorted(hub.sent) == ["config.json", "symbolic.safetensors"]


def test_every_refusal_of_the_hub_is_one_sentence(hub):
    hub.folder.mkdir()
    code = (
        "from clamp3.models.hub import resolve\n"
        "from clamp3.errors import CheckpointError\n"
        "for name in ('gone/x', 'closed/x', 'broken/x', 'silent/x'):\n"
        "    try: resolve(name)\n"
        "    except CheckpointError as error: print(error)"
    )
    gone, closed, broken, silent = run(code, **hub.settings).splitlines()
    assert gone.startswith("gone/x: neither a folder here nor a model on the hub")
    assert closed.startswith("closed/x: cannot be fetched from the hub (")
    assert broken.startswith("broken/x: no folder here, the hub cannot be reached")
    assert silent.startswith("silent/x: cannot be fetched from the hub (")
