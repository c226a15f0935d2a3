"""The errors this package raises on purpose.

    Clamp3Error
    ├── ConfigError      params.yaml or a command's options
    ├── FormatError      one score, performance, recording or text that cannot be read
    ├── DataError        a table, manifest or data set that does not hold what it should
    │   └── StorageError a place that does not give what it holds: to be tried again later
    └── CheckpointError  weights or an adapter that do not fit

Messages say where, what was found, what was expected, and the likely mistake.
"""

import atexit
import errno
import os
import re
import sys

# What memory that cannot be had is called by those who have no error of its own for it.
_NO_MEMORY = re.compile(
    r"(?i)out of memory|allocate memory|alloc of size|not enough memory|os error 12|bad_alloc"
    r"|failed to map segment|without (setting an )?exception"
    r"|(start new|launch worker) thread|could not create a primitive"
)
_ADVICE = {
    errno.ENOSPC: "free some, or give it another folder",
    errno.EDQUOT: "free some, or ask for a larger quota",
    errno.EFBIG: "is there a limit on the size of files (ulimit -f)?",
    errno.EROFS: "give it another folder",
    errno.EACCES: "does it belong to another user?",
    errno.EPERM: "does it belong to another user?",
    errno.ENOENT: "was it moved or removed meanwhile?",
    errno.ESTALE: "was it moved or removed meanwhile?",
    errno.EISDIR: "a file is expected there",
    errno.ENOTDIR: "a folder is expected there",
    errno.EEXIST: "remove it, or give another name",
    errno.ENAMETOOLONG: "is it a path at all?",
    errno.ENFILE: "the machine has too many files open",
    errno.EIO: "is the disk damaged, or the network down?",
    errno.EMFILE: "is there a limit on open files (ulimit -n)?",
}


class Clamp3Error(Exception):
    """Base of all errors that a user can cause and mend."""


class ConfigError(Clamp3Error):
    """A parameter is missing, unknown or out of range."""


class FormatError(Clamp3Error):
    """One piece cannot be read or converted.

    `kind` is a short, stable name of the fault (`corrupt_zip`, `no_notes`, …) by which
    rejected tables are grouped; the message is for people.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        return type(self), (self.kind, str(self))


class DataError(Clamp3Error):
    """A table, manifest or data set does not hold what it should."""


class StorageError(DataError):
    """A place for data refuses or does not answer; the data themselves may be whole.

    It ends a batch step: a piece that could not be fetched is not a broken piece.
    """


class CheckpointError(Clamp3Error):
    """Weights, a tokenizer or an adapter are damaged or do not fit the model."""


def machine_fault(error: BaseException) -> str | None:
    """What to tell a person of an error that the machine caused; None for all others.

    Files that cannot be read or written, and memory that is not there: no fault of the program,
    though libraries raise such errors with a traceback and often without the file's name. Nor is a
    file damaged because there was no memory to read it.
    """
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        return (
            f"out of memory ({str(error).partition(chr(10))[0] or type(error).__name__}): give the "
            "job more (Snakemake: --set-resources RULE:mem_mb=…), or let it take less at once "
            "(batch_size, batch_tokens, chunk)"
        )
    if not isinstance(error, OSError) or error.errno not in _ADVICE:
        return None
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([" → ".join(names) or "a file", advised(error)])


def leave_quietly() -> None:
    """Let torch print no statistics when the process ends: without memory they are a traceback."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is not None and hasattr(dynamo, "dump_compile_times"):
        atexit.unregister(dynamo.dump_compile_times)


def advised(error: OSError) -> str:
    """What the system says of a file, and the likely reason."""
    advice = _ADVICE.get(error.errno)
    said = os.strerror(error.errno) if error.errno else str(error)
    return "; ".join(filter(None, [said, advice]))
