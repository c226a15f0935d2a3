"""Why a request is refused: a status, a kind and the library's sentence, without machine paths."""

import logging
import os
from collections.abc import Iterable, Mapping

from clamp3.errors import CheckpointError, Clamp3Error, ConfigError, FormatError

log = logging.getLogger(__name__)

# Of FormatErrors that are not the file's fault alone.
_STATUS_OF_KIND = {"timed_out": 503}
_FAULT = "this is a fault of the program; its log says more"


class RequestError(Exception):
    """An answer with a status of 400 or more; `headers` go with it."""

    def __init__(
        self, status: int, kind: str, sentence: str, headers: Mapping[str, str] | None = None
    ):
        super().__init__(sentence)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})

    @property
    def content(self) -> dict[str, str]:
        """What the answer says."""
        return {"error": str(self), "kind": self.kind}


def busy(sentence: str, kind: str = "busy", seconds: int = 1) -> RequestError:
    """503, with the seconds after which to try again."""
    return RequestError(503, kind, sentence, {"Retry-After": str(seconds)})


def refusal_of(error: Exception, hidden: Mapping[str, str] | None = None) -> RequestError:
    """The answer to a request that ended with this error.

    `hidden`: texts that must not leave the machine, such as paths, and what stands for them.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, FormatError) and error.kind != "internal_error":
        status = _STATUS_OF_KIND.get(error.kind, 422)
        headers = {"Retry-After": "1"} if status == 503 else None
        return RequestError(status, error.kind, cleaned(str(error), hidden), headers)
    if isinstance(error, FormatError):
        log.error("a file cannot be read: %s", error)
        return RequestError(422, error.kind, f"the file cannot be read: {_FAULT}")
    if isinstance(error, ConfigError | CheckpointError):
        return RequestError(400, "bad_request", cleaned(str(error), hidden))
    if isinstance(error, Clamp3Error):
        log.error("%s", error)
        return RequestError(500, "bad_data", cleaned(str(error), hidden))
    log.error("a request failed", exc_info=error)
    return RequestError(500, "internal_error", _FAULT)


def cleaned(sentence: str, hidden: Mapping[str, str] | None) -> str:
    """The sentence with other words in place of what is hidden, the longest first."""
    for text in sorted(hidden or {}, key=len, reverse=True):
        sentence = sentence.replace(text, hidden[text])
    return sentence


def spellings(path: str | os.PathLike, words: str) -> dict[str, str]:
    """A path as it may stand in sentences, for `cleaned`."""
    given = os.fspath(path)
    found: Iterable[str] = (given, os.path.abspath(given), os.path.realpath(given))
    return {text: words for text in found if len(text) > 1}
