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

from clamp3.errors import Clamp3Error

Item = TypeVar("Item")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def job_log(path: Path) -> Iterator[None]:
    """Log the block to `path` and to stderr, and end the process with the job's parent.

    A Clamp3Error becomes one line on stderr and exit status 1; any other exception leaves its
    traceback in the log as well. When Snakemake is killed outright, its jobs would go on and
    write beside those of the next run: a watcher ends this process when its parent is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler()]
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(True)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        yield
    except Clamp3Error as error:
        logging.getLogger("clamp3").error("%s", error)
        sys.exit(1)
    except Exception:
        logging.getLogger("clamp3").exception("this is a fault of the program, please report it")
        sys.exit(1)


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """The items, with a progress bar on a terminal and none in a log file."""
    return tqdm(items, desc=what, total=total, disable=not sys.stderr.isatty(), unit_scale=True)
