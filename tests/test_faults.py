"""A short run of benchmarks/faults.py, which would notice a stage that fails badly."""

import json
import os
import subprocess
import sys

import pytest
from repository import ROOT

BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))

from fault_bench import Result, unclear  # noqa: E402
from fault_jobs import Outcome  # noqa: E402
from fault_stages import Job, Toy, differences, half_folders, half_made, unaccounted  # noqa: E402

JOB = Job("convert", "exec python workflow/scripts/x.py --log logs/x.log", ("data/abc",))
HEAD = "2026-01-01 10:00:00,000 ERROR clamp3: "
GOOD = "data/a.parquet: cannot be written: No space left"


def faults(folder, *words):
    program = [sys.executable, str(BENCHMARKS / "faults.py"), "--folder", str(folder)]
    return subprocess.run([*program, *words], capture_output=True, text=True, timeout=600)


@pytest.mark.long
def test_two_stages_under_the_faults_that_users_meet(tmp_path):
    chosen = ("full_disk", "no_permission", "corrupt_parquet", "kill", "umask")
    words = ("--stages", "parse", "abc", "--kills", "2", "--faults", *chosen)
    done = faults(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "done.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert sum(row["trials"] for row in rows) > 15
    again = faults(tmp_path, *words)  # nothing is done twice
    assert "trials in 10 cells, 0 of them not ok" in again.stdout
    assert len((tmp_path / "done.jsonl").read_text().splitlines()) == 10


def test_a_fault_in_the_record_is_told(tmp_path):
    result = Result("abc", "kill", trials=2, problems=["killed: half output"])
    (tmp_path / "done.jsonl").write_text(json.dumps(vars(result)) + "\n")
    done = faults(tmp_path, "--table", "--stages", "abc", "--faults", "kill")
    assert done.returncode == 1
    assert "| abc | 1 wrong |" in done.stdout
    assert "abc, kill: killed: half output" in done.stdout


@pytest.mark.parametrize(
    ("said", "status", "problem"),
    [
        (HEAD + GOOD, 1, None),
        (HEAD + GOOD, -7, "ended by signal 7"),
        (HEAD + "it failed", 1, "does not say what"),
        (HEAD + "no space", 1, "names no file"),
        (f"{HEAD}{GOOD}\n{HEAD}{GOOD}", 1, "2 errors"),
        ("Traceback (most recent call last):\n  ...\nOSError: data/a: no space", 1, "traceback"),
        ("", 1, "0 errors: (nothing said)"),
    ],
)
def test_only_one_clear_error_is_fine(tmp_path, said, status, problem):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/x.log").write_text(said)
    told = unclear(Outcome(status, JOB, said), tmp_path, ("space",), ())
    assert bool(told) == bool(problem)
    assert problem is None or problem in told[0]


def test_an_error_must_be_in_the_log_and_name_the_file(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/x.log").write_text("another line\n")
    told = unclear(Outcome(1, JOB, HEAD + GOOD), tmp_path, ("space",), ("b.parquet",))
    assert [line.split(":")[0] for line in told] == ["does not name b.parquet", "not in the log"]


def test_half_outputs_are_seen(tmp_path):
    whole = {"data/abc/a.json": b"{}", "data/abc/b.json": b"[1]"}
    folder = tmp_path / "data/abc"
    folder.mkdir(parents=True)
    (folder / "a.json").write_bytes(whole["data/abc/a.json"])
    (folder / "b.json").write_bytes(b"[1")
    (folder / ".b.json.draft").write_bytes(b"[")
    assert ["b.json" in line for line in half_made(tmp_path, "abc", whole)] == [True]
    assert "differs data/abc/b.json" in differences(tmp_path, "abc", whole)
    assert half_folders(tmp_path, [JOB], whole) == []
    os.remove(folder / "b.json")
    assert "without b.json" in half_folders(tmp_path, [JOB], whole)[0]
    assert unaccounted(tmp_path, "abc", whole) == []


def test_the_stages_of_the_contract_have_inputs():
    toy = Toy.__new__(Toy)
    assert toy.reads("corpus") == []
    assert toy.reads("abc") == ["data/demo", "data/catalog"]
    assert "results/models/m3" in toy.reads("clamp3")
