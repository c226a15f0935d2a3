"""What was asked and answered, line by line as it happens: the cache and the books of the budget.

One JSON object a line, only ever appended. An `ask` line reserves tokens and money before the
request goes out, an `end` line says what it took in the end and what came back. A process that
is killed in between leaves an `ask` without an end, which counts in full. A kill within a line
leaves half of it at the end of the file: it is dropped when the file is opened again.
"""

import fcntl
import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clamp3.errors import DataError


class Cost(NamedTuple):
    """Tokens in and out together, and money."""

    tokens: int = 0
    money: float = 0.0

    def plus(self, other: "Cost", sign: int = 1) -> "Cost":
        return Cost(self.tokens + sign * other.tokens, self.money + sign * other.money)


class Reply(NamedTuple):
    """What a server answered; tokens are None where it does not count them."""

    text: str | None
    refusal: str | None
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None


def question_key(
    *, model: str, prompt_version: int, schema: str, metadata: Mapping, language: str
) -> str:
    """What identifies a question: a change of any part asks again."""
    parts = [model, prompt_version, schema, metadata, language]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


class Ledger:
    """The open ledger of a file; one process at a time, any number of its threads.

    `replies` holds for each key what was answered, in order. `spent` is what the ended requests
    took, and those without an end were to take at most; `asked` are the keys that were ever asked.
    `path` None keeps nothing; `read_only` looks at a file (there may be none) and leaves it alone.

    Raises DataError for a damaged line, where another process has the file open, and where the
    file cannot be written.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False):
        self.replies: dict[str, list[Reply]] = defaultdict(list)
        self.asked: set[str] = set()
        self.spent = Cost()
        self._path, self._lock = path, threading.Lock()
        self._requests = 0
        self._file = None if read_only or path is None else self._open(path)
        try:
            if path is not None and path.is_file():
                self._read(path)
        except DataError:
            self.close()
            raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @staticmethod
    def _open(path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error})") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise DataError(f"{path}: another run writes to it; wait for its end") from error
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            os.ftruncate(file, path.read_bytes().rfind(b"\n") + 1)
        return file

    def _read(self, path: Path) -> None:
        open_requests: dict[int, Cost] = {}
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break  # torn, or being written, when only looked at
                try:
                    self._take(json.loads(line), open_requests)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{path}, line {number}: no line of a ledger of summaries ({error!r:.80})"
                    ) from error
        for cost in open_requests.values():
            self.spent = self.spent.plus(cost)

    def _take(self, line: dict, open_requests: dict[int, Cost]) -> None:
        cost, request = Cost(int(line["tokens"]), float(line["money"])), int(line["request"])
        self._requests = max(self._requests, request + 1)
        if line["event"] == "ask":
            self.asked.add(line["key"])
            open_requests[request] = cost
            return
        open_requests.pop(request)
        self.spent = self.spent.plus(cost)
        if line["reply"] is not None:
            self.replies[line["key"]].append(Reply(**line["reply"]))

    def begin(self, key: str, most: Cost) -> int:
        """The number of a request that is about to go out and takes at most so much."""
        with self._lock:
            request, self._requests = self._requests, self._requests + 1
            self.asked.add(key)
            self._append("ask", request, key, most)
        return request

    def end(
        self,
        request: int,
        key: str,
        cost: Cost,
        *,
        reply: Reply | None = None,
        fault: str | None = None,
    ) -> None:
        """Note what a request took, and its reply or what went wrong."""
        with self._lock:
            self.spent = self.spent.plus(cost)
            answered = reply and reply._asdict()
            self._append("end", request, key, cost, {"reply": answered, "fault": fault})
            if reply is not None:
                self.replies[key].append(reply)

    def _append(
        self, event: str, request: int, key: str, cost: Cost, more: Mapping | None = None
    ) -> None:
        if self._file is None:
            return
        line = {"event": event, "request": request, "key": key, **cost._asdict(), **(more or {})}
        end, rest = os.fstat(self._file).st_size, json.dumps(line).encode() + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:  # the disk is full; what comes next must not follow half a line
            os.ftruncate(self._file, end)
            raise DataError(f"{self._path}: cannot be written ({error})") from error
