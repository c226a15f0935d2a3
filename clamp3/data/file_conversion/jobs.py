"""One file: read, told apart, converted and written as a draft, in whatever process."""

import hashlib
import os
import stat
from pathlib import Path
from traceback import extract_tb, format_exception_only
from typing import NamedTuple

from clamp3.data.file_conversion.forms import MUSIC, convert_bytes, form_of
from clamp3.data.file_conversion.ledger import Record, record_of
from clamp3.data.file_conversion.listing import Refusal
from clamp3.errors import FormatError
from clamp3.formats.modality import FileFormat

MAX_FILE_BYTES = 256 * 2**20


class Order(NamedTuple):
    """What the user wants made, and the version of the converter that makes it."""

    out: Path
    target: str
    keep_metadata: bool
    force: bool
    made_by: str


class Job(NamedTuple):
    """One file to convert. `known`: what was written under the output's name before."""

    id: str
    source: str
    named: bool
    output: str
    place: str
    draft: str
    known: dict[str, Record]
    order: Order


# The record of what was made, None if it stood there already, the fault of a rejected file, or why
# one is passed over.
Outcome = Record | None | FormatError | Refusal


class OutputError(Exception):
    """The folder to write to takes no more; going on would reject file after file."""


def do_job(job: Job) -> Outcome:
    """Write the converted file to `job.draft`, durably, or say why not.

    No exception leaves but OutputError, so that one file stops no other.
    """
    try:
        data = _read(job.source)
        file_format = _format(job, data)
        if isinstance(file_format, Refusal):
            return file_format
        digest = hashlib.sha256(data).hexdigest()
        if _stands(job, digest):
            return None
        converted = _convert(job, data, digest, file_format)
    except FormatError as error:
        return error
    _write(job.draft, converted)
    made = hashlib.sha256(converted).hexdigest()
    return Record(job.output, made, job.source, digest, job.order.target, job.order.made_by)


def _read(path: str) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("special_file", "no regular file, but a device, pipe or folder")
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FormatError("unreadable_file", f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise FormatError("too_large", f"the file is larger than {MAX_FILE_BYTES} bytes")
    return data


def _format(job: Job, data: bytes) -> FileFormat | Refusal:
    """The format; a refusal of what nobody asked for and is no music."""
    name = os.path.basename(job.source)
    try:
        file_format = form_of(data, name, trust_text=job.named)
    except FormatError as error:
        if job.named:
            raise
        return Refusal(error.kind, str(error))
    if file_format in MUSIC or job.named:
        return file_format
    return Refusal("no_music", f"a file of format {file_format.value}")


def _stands(job: Job, digest: str) -> bool:
    """Whether the output is there, made from this content by this converter.

    Raises FormatError `name_taken` where its place is taken by what must not be overwritten.
    """
    if not os.path.lexists(job.place):
        return False
    record = record_of(Path(job.place), job.known)
    if record is None:
        raise FormatError(
            "name_taken",
            f"{job.place} was not written by convert, or was changed since; move it away or "
            "choose another --out",
        )
    if job.order.force:
        return False
    same_content = record.source_sha256 == digest and record.target == job.order.target
    if same_content and record.made_by == job.order.made_by:
        return True
    if not same_content and not record.made_for(job.source, job.order.target):
        raise FormatError(
            "name_taken",
            f"{job.place} was made from {record.source} (--to {record.target}); choose another "
            "--out, or --force to write over it",
        )
    return False


def _convert(job: Job, data: bytes, digest: str, file_format: FileFormat) -> bytes:
    """The converted bytes. What stands there from an earlier content goes if this one fails."""
    try:
        return _attempt(job, data, file_format)
    except FormatError:
        record = record_of(Path(job.place), job.known)
        outdated = record and (record.source_sha256, record.made_by) != (digest, job.order.made_by)
        if outdated and record.made_for(job.source, job.order.target):
            Path(job.place).unlink(missing_ok=True)
        raise


def _attempt(job: Job, data: bytes, file_format: FileFormat) -> bytes:
    try:
        return convert_bytes(
            data, file_format, job.order.target, keep_metadata=job.order.keep_metadata
        )
    except FormatError:
        raise
    except MemoryError as error:
        raise FormatError("too_large", "the file needs more memory than there is") from error
    except Exception as error:
        last = extract_tb(error.__traceback__)[-1]
        words = format_exception_only(error)[-1].strip()
        where = f"{os.path.basename(last.filename)}, line {last.lineno}"
        raise FormatError(
            "internal_error", f"a fault of the program, please report it: {words} ({where})"
        ) from error


def _write(draft: str, content: bytes) -> None:
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot write {draft}: {error.strerror}") from error
