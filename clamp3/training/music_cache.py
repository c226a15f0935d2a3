"""Arrays of many pieces in one Arrow file that all processes of a machine read from its memory."""

import fcntl
import logging
import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pyarrow as pa

from clamp3.files import atomic_path

log = logging.getLogger(__name__)
PIECES_PER_BATCH = 256  # of the file; while it is written so many are in memory
KEPT_FILES = 8  # used last: training and validation pieces of every stage of a workflow
Row = tuple[bytes | None, ...]


class CachedRows:
    """Rows of bytes, with what was `said` of them all when they were written.

    `folder` keeps the rows in `<key>.arrow`, written by the first process that asks for the key
    while others wait, and read from there by all later ones; None: in memory. A key must stand for
    everything that the rows depend on: a file is used if and only if it has this name and is whole.
    Files that no process has open go when there are more than the 8 used last.

    `write` yields the rows; `said` may be filled while it does, and is kept with them.
    """

    def __init__(
        self,
        folder: Path | None,
        key: str,
        names: tuple[str, ...],
        write: Callable[[], Iterator[Row]],
        said: dict[str, str],
    ):
        if folder is None:
            sink = pa.BufferOutputStream()
            _write(sink, names, write(), said)
            self._read(pa.BufferReader(sink.getvalue()))
            return
        path = Path(folder) / f"{key}.arrow"
        with _alone(Path(folder)):
            if not self._found(path):
                _tidy(Path(folder))
                with atomic_path(path) as draft, pa.OSFile(str(draft), "wb") as sink:
                    _write(sink, names, write(), said)
                self._map(path)

    def __len__(self) -> int:
        return self._count

    def _found(self, path: Path) -> bool:
        try:
            self._map(path)
        except FileNotFoundError:
            return False
        except (pa.ArrowException, OSError, ValueError, TypeError) as error:
            log.warning("%s: damaged, written again (%s)", path, error)
            return False
        os.utime(path)
        return True

    def _map(self, path: Path) -> None:
        with open(path, "rb") as file:
            # The map keeps the descriptor, and with it the lock that says the file is in use.
            fcntl.flock(file, fcntl.LOCK_SH)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._read(pa.BufferReader(mapped))

    def _read(self, source: pa.NativeFile) -> None:
        with pa.ipc.open_file(source) as reader:
            batches = [reader.get_batch(n) for n in range(reader.num_record_batches - 1)]
            _, said = reader.get_batch_with_custom_metadata(len(batches))
        self.said = {name.decode(): value.decode() for name, value in said.items()}
        self._count = sum(map(len, batches))
        names = batches[0].schema.names if batches else []
        self._columns = {name: [batch[name] for batch in batches] for name in names}

    def value(self, row: int, name: str) -> memoryview | None:
        """The bytes of a row where they lie, without a copy; None where it has none."""
        part = self._columns[name][row // PIECES_PER_BATCH]
        value = part[row % PIECES_PER_BATCH].as_buffer()
        return None if value is None else memoryview(value)

    def __getstate__(self) -> dict:
        raise TypeError("rows of a mapped file are inherited by a forked process, never copied")


def _write(
    sink: pa.NativeFile, names: tuple[str, ...], rows: Iterable[Row], said: dict[str, str]
) -> None:
    """The rows, and at the end an empty batch that carries what is said of them."""
    schema = pa.schema({name: pa.large_binary() for name in names})
    rows = iter(rows)
    with pa.ipc.new_file(sink, schema) as writer:
        while some := list(islice(rows, PIECES_PER_BATCH)):
            columns = [pa.array(values, pa.large_binary()) for values in zip(*some, strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
        empty = pa.record_batch([pa.array([], pa.large_binary()) for _ in names], schema=schema)
        writer.write_batch(empty, custom_metadata=said)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock of a process that is killed is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tidy(folder: Path) -> None:
    """Delete what killed processes left half written, and files not used for long."""
    for draft in folder.glob(".*.arrow.*"):
        for file in draft.iterdir():
            file.unlink()
        draft.rmdir()
    files = sorted(folder.glob("*.arrow"), key=lambda path: -path.stat().st_mtime_ns)
    for path in files[KEPT_FILES - 1 :]:
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            path.unlink()
