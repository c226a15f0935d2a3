"""Models by their name on the hub, without a network: a cache folder, a dead address."""

import os
import subprocess
import sys

import pytest
from formula import clamp_model

from clamp3.errors import CheckpointError
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


def test_an_unknown_model_is_one_sentence(monkeypatch):
    from huggingface_hub.errors import RepositoryNotFoundError

    def download(name, allow_patterns):
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(CheckpointError, match="neither a folder here nor a model on the hub"):
        resolve("owner/name")
