"""Tasks in processes of their own, some of which hang or die."""

import time

import pytest
from pool_tasks import end_at_once, obey

from clamp3.errors import DataError, FormatError
from clamp3.processes import run_in_processes


def test_processes_that_hang_or_die_cost_one_input_each(tmp_path):
    orders = [("value", number) for number in range(40)]
    orders[3] = ("hang", None)
    orders[7] = ("die", str(tmp_path / "always"))
    orders[11] = ("die_once", str(tmp_path / "once"))
    began = time.monotonic()
    results = dict(run_in_processes(obey, orders, workers=2, seconds=1.5))
    assert time.monotonic() - began < 60
    assert sorted(results) == list(range(40))
    failed = {n: (r.kind, str(r)) for n, r in results.items() if isinstance(r, FormatError)}
    assert failed == {
        3: ("timed_out", "not done after 1.5 seconds"),
        7: ("worker_died", "its process ended, 2 times, the last by SIGKILL; out of memory?"),
    }
    good = {n: r for n, r in results.items() if n not in failed}
    assert good == {n: order[1] for n, order in enumerate(orders) if n not in failed}


def test_an_exception_of_the_task_ends_the_run():
    with pytest.raises(OSError, match="told"):
        list(run_in_processes(obey, [("raise", "told")], workers=1, seconds=30))


def test_processes_that_never_start_end_the_run(monkeypatch):
    monkeypatch.setattr("clamp3.processes._serve", end_at_once)
    with pytest.raises(DataError, match=r"before their first input .*exit status 3"):
        list(run_in_processes(obey, [("value", 1)], workers=2, seconds=30))
