"""Many clients at once: no errors, and memory stays where it was."""

import json

import pytest
from repository import ROOT, python


@pytest.mark.long
def test_sixty_four_clients_are_answered():
    program = ROOT / "benchmarks/serve.py"
    report = json.loads(python(program, "--clients", 64, "--seconds", 20, timeout=300))
    assert report["errors"] == {}
    assert set(report["milliseconds"]) == {"text", "like", "upload"}
    assert report["texts_embedded_together"] > 1.5
    memory = report["megabytes"]
    assert memory["late"] < memory["early"] * 1.1 + 30
