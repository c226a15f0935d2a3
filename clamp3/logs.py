"""Logs of a job: progress to screen and file, tracebacks in the file too, no orphans."""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from clamp3.errors import Clamp3Error, advised, leave_quietly, machine_fault

Item = TypeVar("Item")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def job_log(path: Path) -> Iterator[None]:
    """Log the block to `path` and to stderr, and end the process with the job's parent.

    Of several processes that do one job (RANK, as torch's launcher sets it) the first writes the
    log; the others only say what is wrong, on stderr.

    A Clamp3Error, or a fault of the machine (a full disk, no memory), becomes one line on stderr
    and exit status 1; any other exception leaves its traceback in the log as well. When Snakemake
    is killed outright, its jobs would go on and write beside those of the next run: a watcher ends
    this process when its parent is gone.
    """
    level = logging.INFO if is_first_process() else logging.ERROR
    logging.basicConfig(level=level, format=FORMAT, handlers=[logging.StreamHandler()], force=True)
    logging.captureWarnings(True)
    log = logging.getLogger("clamp3")
    try:
        if is_first_process():
            _write_log_to(path)
        end_with_parent()
        yield
    except Exception as error:
        told = machine_fault(error)
        if told or isinstance(error, Clamp3Error):
            leave_quietly()
            log.error("%s", told or error)
        else:
            log.exception("this is a fault of the program, please report it")
        sys.exit(1)


class _LogFile(logging.FileHandler):
    """A log that is told of, once, when it cannot be written to: the job goes on, or says why."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logging.getLogger().removeHandler(self)
        log = logging.getLogger("clamp3")
        log.warning("%s: cannot be written: %s", self.baseFilename, advised(error))


def _write_log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _LogFile(path, mode="w", encoding="utf-8")
    file.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(file)


def is_first_process() -> bool:
    """Whether this is the only process of a job, or the first of those that do it together."""
    return os.environ.get("RANK", "0") == "0"


def end_with_parent() -> None:
    """End this process, from now on, when the one that started it is gone."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> tqdm:
    """The items, with rate and time left on a terminal and nothing of it in a log file."""
    hidden = not (sys.stderr.isatty() and is_first_process())
    return tqdm(items, desc=what, total=total, disable=hidden, unit_scale=True)
