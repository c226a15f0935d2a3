"""Arguments and logs of the rules' scripts."""

import signal
import subprocess
import sys

import pytest
from waiting import is_running, wait_for

from clamp3.job import Job
from clamp3.config import ConversionConfig
from clamp3.errors import ConfigError

PROGRAM = "from clamp3.job import Job\nwith Job() as job:\n    {code}"
PARAMS = '{"seed": 7, "abc": {"max_rejected_share": 0.1}}'


@pytest.fixture
def arguments(tmp_path):
    return ["--params", PARAMS, "--train", "a b.jsonl", "c", "--log", str(tmp_path / "l/x.log")]


def test_arguments_are_found_by_name(arguments):
    job = Job(arguments)
    assert [str(path) for path in job.paths("train")] == ["a b.jsonl", "c"]
    assert job.value("seed") == 7
    assert job.section("abc", ConversionConfig).max_rejected_share == 0.1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda job: job.text("train"), "found 2 values, expected one"),
        (lambda job: job.path("out"), "--out: found 0 values"),
        (lambda job: job.paths("out"), "found nothing"),
        (lambda job: job.value("lora"), "does dvc.yaml list it"),
        (lambda job: job.section("seed", ConversionConfig), "seed"),
    ],
)
def test_a_wrong_argument_is_named(arguments, ask, message):
    with pytest.raises(ConfigError, match=message):
        ask(Job(arguments))


def run(code, log):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code=code), "--log", str(log)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("line", "said", "with_traceback"),
    [
        ("raise MemoryError", "out of memory", False),
        (
            "raise ImportError('libtorch.so: failed to map segment from shared object')",
            "map",
            False,
        ),
        ("import no_such_library", "No module named 'no_such_library'", True),
    ],
)
def test_what_keeps_modules_from_loading_is_logged(tmp_path, line, said, with_traceback):
    program = f"from clamp3.job import Job\n{line}"
    done = subprocess.run(
        [sys.executable, "-c", program, "--log", str(tmp_path / "log")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    for told in (done.stderr, (tmp_path / "log").read_text()):
        assert told.count(said) == 1
        assert ("Traceback" in told) == with_traceback


def test_a_users_error_is_one_line_in_screen_and_log(tmp_path):
    done = run("from clamp3.errors import DataError; raise DataError('the reason')", tmp_path / "l")
    assert done.returncode == 1
    assert "the reason" in done.stderr
    assert "Traceback" not in done.stderr
    assert "the reason" in (tmp_path / "l").read_text()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("open('no/such/file')", "no/such/file: No such file or directory; was it moved"),
        ("raise OSError(28, 'No space left on device')", "a file: No space left on device; free"),
        ("raise MemoryError", "out of memory (MemoryError): give the job more"),
        (
            "from clamp3.errors import DataError; raise DataError('a.parquet: not a readable "
            "Parquet file (Failed to launch worker thread)')",
            "out of memory (a.parquet: not a readable Parquet file",
        ),
        ("raise RuntimeError('[x.cpp:8] can\\'t allocate memory: 8 bytes')", "out of memory"),
        ("raise RuntimeError('realloc of size 512 failed')", "out of memory (realloc of size"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_in_screen_and_log(tmp_path, code, told):
    done = run(code, tmp_path / "l")
    assert done.returncode == 1
    for said in (done.stderr, (tmp_path / "l").read_text()):
        assert said.count(" ERROR ") == said.count(told) == 1
        assert "Traceback" not in said


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("raise SystemExit(7)", tmp_path / "file/log")
    assert done.returncode == 1
    assert f"{tmp_path}/file: File exists" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_ends_the_log_but_not_the_job(tmp_path):
    log = tmp_path / "log"
    log.symlink_to("/dev/full")
    done = run("import logging\n    for n in range(9): logging.error('line %s', n)", log)
    assert done.returncode == 0
    assert done.stderr.count("log: cannot be written: No space left on device") == 1
    assert "line 8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_leaves_its_traceback_in_the_log(tmp_path):
    done = run("1 / 0", tmp_path / "l")
    assert done.returncode == 1
    assert "ZeroDivisionError" in (tmp_path / "l").read_text()


def test_a_job_ends_with_its_parent(tmp_path):
    """A killed Snakemake must not leave jobs behind that write beside those of the next run."""
    child = (
        "import os, time\nfrom clamp3.job import Job\n"
        "with Job() as job:\n    print(os.getpid(), flush=True)\n    time.sleep(60)"
    )
    parent = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {child!r}, '--log', {str(tmp_path / 'l')!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_for(lambda: not is_running(pid), 20)
