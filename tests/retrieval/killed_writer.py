"""Kills writers of an index at every step, and at any time; run as a program of its own.

    python killed_writer.py FOLDER TABLE MOMENTS

FOLDER holds an index; before each try a copy of it is made, a child adds TABLE and the pieces in
the .csv beside it (or deletes two rows) and is killed: before its n-th call of the system, for each
n; or after as many delays as MOMENTS says, if not 0, spread over the time that adding takes. The
copy then has to open as before or as after. Prints how often it was which.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from clamp3.retrieval.index.map import index_map
from clamp3.retrieval.index.pieces import Pieces
from clamp3.retrieval.index.reader import open_index
from clamp3.retrieval.index.writer import add_to_index, delete_from_index

CALLS = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "chmod", "open", "lstat")


def content(folder: Path) -> list:
    """All rows in the order of two searches, the scores of pieces, and the places on the map."""
    index = open_index(folder)
    index.check()
    queries = np.stack([np.ones(index.manifest.width), np.arange(index.manifest.width)])
    hits = index.search_many(queries, 10**6)
    assert len(hits[0]) == len(hits[1]) == len(index)
    pieces = Pieces(index)
    return [hits, [pieces.abc(hit.id) for hit in hits[0]], index_map(folder).to_pylist()]


def write(folder: Path, table: Path) -> None:
    if table.suffix == ".parquet":
        add_to_index(folder, [table], pieces=table.with_suffix(".csv"))
    else:
        delete_from_index(folder, ["00001", "00002"])


def die_before(step: int) -> None:
    """Kill this process before its `step`-th call."""
    left = [step]

    def counted(call):
        def instead(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return instead

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def attempt(folder: Path, table: Path, step: int | None, seconds: float | None) -> bool:
    """Let a child write; whether it came to its end."""
    child = os.fork()
    if not child:
        if step is not None:
            die_before(step)
        write(folder, table)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.WIFEXITED(os.waitpid(child, 0)[1])


def try_all(source: Path, table: Path, mode: str, tries: int) -> None:
    copy = source.with_name("copy")
    before = content(source)
    shutil.copytree(source, copy)
    begun = time.monotonic()
    assert attempt(copy, table, None, None)
    lasting = time.monotonic() - begun
    after = content(copy)
    assert after != before
    counts = {"before": 0, "after": 0}
    for number in range(1, tries + 1):
        shutil.rmtree(copy)
        shutil.copytree(source, copy)
        step, seconds = (number, None) if mode == "steps" else (None, lasting * number / tries)
        ended = attempt(copy, table, step, seconds)
        found = content(copy)
        assert found in (before, after), f"{mode} {number}: {len(found[0][0])} rows"
        counts["before" if found == before else "after"] += 1
        if number % 4 == 0 and found == before:  # the next writer goes on, and clears up
            write(copy, table)
            assert content(copy) == after
            files = {p.name for p in copy.iterdir()} - {".lock", "index.json"}
            assert files == open_index(copy).manifest.names
        if ended and mode == "steps":
            break
    shutil.rmtree(copy)
    print(mode, counts["before"], counts["after"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    given, added = Path(sys.argv[1]), Path(sys.argv[2])
    if moments := int(sys.argv[3]):
        try_all(given, added, "moments", moments)
    else:
        try_all(given, added, "steps", 500)
        try_all(given, Path("delete"), "steps", 500)
