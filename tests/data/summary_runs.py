"""Runs of `clamp3 summarise` against the server of chat_server.py."""

from contextlib import contextmanager

import pyarrow.parquet as pq
from chat_server import LANGUAGES, chat_server

from clamp3.data.rejected import read_rejected
from clamp3.data.summaries.summarise import read_settings, summarise
from clamp3.files import write_jsonl

KEY = "sk-very-secret-0123456789"


@contextmanager
def running_server(monkeypatch):
    """The server, and an environment in which nothing but its key is set."""
    monkeypatch.setenv("SUMMARY_KEY", KEY)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with chat_server(slow_seconds=6.0) as state:
        yield state


def settings(server, **changes):
    values = read_settings().model_dump() | {
        "writer": "openai",
        "base_url": server.base_url,
        "model": "stub",
        "key_variable": "SUMMARY_KEY",
        "languages": dict.fromkeys(LANGUAGES, 1.0),
        "timeout_seconds": 20,
        "max_attempts": 3,
        "first_pause_seconds": 0.01,
        "max_pause_seconds": 0.05,
    }
    return type(read_settings()).model_validate(values | changes)


def write_pieces(path, titles):
    lines = [
        {"title": title, "composer": None, "tags": ["dance"], "filepaths": [f"abc/{number}.abc"]}
        for number, title in enumerate(titles)
    ]
    write_jsonl(path, lines)
    return path


def run(server, tmp_path, titles, **changes):
    source = write_pieces(tmp_path / "pieces.jsonl", titles)
    return summarise(source, tmp_path / "out", settings=settings(server, **changes), seed=1)


def accepted(tmp_path):
    return pq.read_table(tmp_path / "out/summaries.parquet").to_pylist()


def rejected(tmp_path):
    return read_rejected(tmp_path / "out/rejected.parquet")
