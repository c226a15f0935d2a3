"""The one file of a form (multipart/form-data), written to disk while the form arrives."""

import contextlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clamp3.service.failures import RequestError
from clamp3.service.upload_reading import Upload

FIELD = "file"
ENVELOPE_BYTES = 64 * 2**10  # of a form around its file
NAME_CHARACTERS = 100
_DISPOSITION = b"content-disposition"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class FormFile:
    """Takes a form piece by piece; its file lies in `folder` then.

    Other fields are passed over. Every method raises RequestError: 413 as soon as the file is too
    large, 415 for no form, 400 for a broken one.
    """

    def __init__(self, content_type: str, folder: Path, most_bytes: int):
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            sentence = "expected a form (multipart/form-data) with a file in its field file"
            raise RequestError(415, "not_a_form", sentence)
        names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished")
        names += ("part_data", "part_end", "end")
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in names}
        if not options.get(b"boundary"):
            raise _broken("its header names no boundary")
        with _told():
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        self._folder = folder
        self._most_bytes = most_bytes
        self._arrived = self._written = 0
        self._complete = False
        self._upload: Upload | None = None
        self._file: BinaryIO | None = None  # of the part that is being read

    def write(self, content: bytes) -> None:
        """What arrived."""
        self._arrived += len(content)
        if self._arrived > self._most_bytes + ENVELOPE_BYTES:
            raise self._too_large()
        with _told():
            self._parser.write(content)

    def finish(self) -> Upload:
        """The file, when everything has arrived."""
        if not self._complete:
            raise _broken("it ends before its last boundary")
        if self._upload is None:
            raise RequestError(400, "no_file", "expected a form with one file in its field file")
        return self._upload

    def close(self) -> None:
        """Nothing more is written."""
        if self._file:
            self._file.close()
            self._file = None

    def _too_large(self) -> RequestError:
        most = f"{self._most_bytes / 2**20:.3g} MiB"
        return RequestError(413, "too_large", f"the file is too large; at most {most} are read")

    def _part_begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(_DISPOSITION))
        if kind != b"form-data" or options.get(b"name") != FIELD.encode():
            return
        if self._upload is not None or b"filename" not in options:
            raise RequestError(400, "no_file", "expected a form with one file in its field file")
        name = told_name(options[b"filename"].decode("utf-8", "replace"))
        self._upload = Upload(self._folder / f"upload{suffix_of(name)}", name)
        self._file = open(self._upload.path, "xb")  # noqa: SIM115 - closed with its part

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._file:
            self._written += end - start
            if self._written > self._most_bytes:
                raise self._too_large()
            self._file.write(data[start:end])

    def _part_end(self) -> None:
        self.close()

    def _end(self) -> None:
        self._complete = True


def told_name(name: str) -> str:
    """The last part of a name as its sender gave it, fit to be shown."""
    last = PurePosixPath(name.replace("\\", "/")).name
    last = _UNSEEN.sub("", last).strip()
    if len(last) > NAME_CHARACTERS:
        last = last[: NAME_CHARACTERS - 20] + "…" + last[-19:]
    return "the file" if last in ("", ".", "..") else last


def suffix_of(name: str) -> str:
    """The suffix, which helps to tell the format; nothing where it is a strange one."""
    suffix = os.path.splitext(name)[1]
    return suffix if _SUFFIX.fullmatch(suffix) else ""


@contextlib.contextmanager
def _told():
    try:
        yield
    except FormParserError as error:
        raise _broken("it is not what its header says") from error


def _broken(why: str) -> RequestError:
    return RequestError(400, "broken_form", f"the form cannot be read: {why}")
