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

    Of several processes that do one job (RANK, as torch's launcher sets it) the first writes the
    log; the others only say what is wrong, on stderr.

    A Clamp3Error becomes one line on stderr and exit status 1; any other exception leaves its
    traceback in the log as well. When Snakemake is killed outright, its jobs would go on and
    write beside those of the next run: a watcher ends this process when its parent is gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if is_first_process():
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    level = logging.INFO if is_first_process() else logging.ERROR
    logging.basicConfig(level=level, format=FORMAT, handlers=handlers, force=True)
    logging.captureWarnings(True)
    end_with_parent()
    try:
        yield
    except Clamp3Error as error:
        logging.getLogger("clamp3").error("%s", error)
        sys.exit(1)
    except Exception:
        logging.getLogger("clamp3").exception("this is a fault of the program, please report it")
        sys.exit(1)


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
