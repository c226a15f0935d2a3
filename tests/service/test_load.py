"""Many clients at once: no errors, and memory stays where it was."""

import json
import subprocess
import sys

import pytest
from repository import ROOT


def load(*words: object) -> dict:
    """What benchmarks/serve.py reports."""
    program = [sys.executable, str(ROOT / "benchmarks/serve.py"), *map(str, words)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
def test_sixty_four_clients_are_answered():
    report = load("--clients", 64, "--seconds", 20)
    assert report["errors"] == {}
    assert set(report["milliseconds"]) == {"text", "like", "upload"}
    assert report["texts_embedded_together"] > 1.5
    memory = report["megabytes"]
    assert memory["late"] < memory["early"] * 1.1 + 30
