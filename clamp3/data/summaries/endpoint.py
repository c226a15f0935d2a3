"""One request to an OpenAI-compatible server, its faults sorted by what can be done about them."""

import logging
import math
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import ModuleType
from urllib.parse import urlsplit

from clamp3.config import SummariesConfig
from clamp3.data.summaries.ledger import Reply
from clamp3.data.summaries.reply import response_format
from clamp3.errors import ConfigError

_HIDDEN = "***"
_LEAST_SECRET = 8  # characters; shorter keys are made up for servers that want none
_TALKATIVE = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")  # log requests, headers too
_NO_KEY = "none"  # for servers that want none
_AGAIN = (408, 409, 425, 429)  # and 5xx
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
# What a server complains of, and the setting that decides about it.
_SETTINGS = {
    "response_format": "structure (schema, object or none)",
    "json_schema": "structure (schema, object or none)",
    "max_completion_tokens": "output_limit or max_output_tokens",
    "max_tokens": "output_limit or max_output_tokens",
}


@dataclass(eq=False)
class UnansweredError(Exception):
    """A request without a reply.

    `again`: it may work later, after `pause_seconds` if the server says so. `charged`: the server
    may have worked on it and count its tokens. `general`: any other request would have failed,
    too, unless the server has answered some before.
    """

    kind: str
    message: str
    again: bool
    charged: bool = False
    general: bool = False
    pause_seconds: float | None = None

    def __str__(self) -> str:
        return self.message


class Endpoint:
    """The server of `settings.base_url`, asked for `settings.model`.

    The key is read from the environment variable `settings.key_variable` and leaves this object
    only in the header of requests: it is struck out of all messages.

    Raises ConfigError without a model, without a key where the server is OpenAI's own, and for a
    key or an address that can be none.
    """

    def __init__(self, settings: SummariesConfig):
        if not settings.model:
            raise ConfigError("which model? The writer openai needs its name on the server")
        openai = _import_client()
        self._errors, self._settings = openai, settings
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = os.environ.get(settings.key_variable, "").strip()
        _check_access(self._key, settings.key_variable, base_url)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client = openai.OpenAI(
            base_url=base_url,
            api_key=self._key or _NO_KEY,
            max_retries=0,  # each request has to go through the budget
            timeout=settings.timeout_seconds,
        )
        self._format = response_format(settings.structure)

    @property
    def host(self) -> str:
        """Where requests go, without what may be secret in an address."""
        return urlsplit(str(self._client.base_url)).hostname or "?"

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """The reply to these messages. Raises UnansweredError, and ConfigError where every other
        request would fail, too (a wrong key, no such model, no credit)."""
        options: dict = {self._settings.output_limit: self._settings.max_output_tokens}
        if self._format:
            options["response_format"] = self._format
        try:
            answer = self._client.chat.completions.create(
                model=self._settings.model, messages=messages, **options
            )
        except self._errors.APIStatusError as error:
            raise self._sort(error, str(messages)) from None  # its request carries the key
        except self._errors.APITimeoutError:
            raise UnansweredError(
                "timeout",
                f"no reply in {self._settings.timeout_seconds:g} s",
                again=True,
                charged=True,
            ) from None
        except self._errors.APIConnectionError as error:
            reached = type(error.__cause__).__name__ != "ConnectError"
            text = self.hide(f"connection to {self.host}: {error.__cause__ or error}")
            raise UnansweredError("connection", text, again=True, charged=reached) from None
        except (ValueError, RecursionError, self._errors.APIError) as error:
            raise self._garbled(error) from None
        return self._read(answer)

    def _sort(self, error: Exception, sent: str) -> Exception:
        status, said = error.status_code, _said(error)
        text = self.hide(f"HTTP {status}: {said:.300}")
        hint = self._hint(status, error.code)
        if hint:
            return ConfigError(f"{self.host} answers {text}; {hint}")
        again = status in _AGAIN or status >= 500
        if again:
            kind = "rate_limit" if status == 429 else "server_error"
            pause = _seconds(error.response.headers)
            return UnansweredError(kind, text, again=True, pause_seconds=pause)
        # A word that was sent may only be quoted.
        complaints = (word for word in _SETTINGS if word in said and word not in sent)
        hint = next((f"change the setting {_SETTINGS[word]}" for word in complaints), None)
        if status == 403:  # some servers say so of a single piece
            hint = f"check the key in the environment variable {self._settings.key_variable}"
        text = f"{text}; {hint}" if hint else text
        return UnansweredError("bad_request", text, again=False, general=hint is not None)

    def _hint(self, status: int, code: str | None) -> str | None:
        """What to mend where no request can work; None where this is not said."""
        settings = self._settings
        if status == 401:
            return f"check the key in the environment variable {settings.key_variable}"
        if status == 402 or code in _NO_CREDIT:
            return "the account has no credit left"
        if status == 404 or code == "model_not_found":
            return f"check base_url, and whether the server has the model {settings.model!r}"
        return None

    def _garbled(self, error: object) -> UnansweredError:
        text = self.hide(f"not the JSON of a chat completion ({error!s:.100})")
        return UnansweredError("garbled", text, again=True, charged=True)

    def _read(self, answer: object) -> Reply:
        """Servers differ, and the client does not check what they send."""
        try:
            choice, usage = answer.choices[0], answer.usage
            text = _plain(choice.message.content)
            refusal = getattr(choice.message, "refusal", None)
            if choice.finish_reason == "content_filter":
                refusal = refusal or "stopped by the server's filter of contents"
            tokens = (None, None)
            if usage is not None:
                tokens = (_count(usage.prompt_tokens), _count(usage.completion_tokens))
        except (AttributeError, LookupError, TypeError) as error:
            raise self._garbled(error) from None
        if not isinstance(text, str | None) or not isinstance(refusal, str | None):
            raise self._garbled("its content is no text")
        hidden = [each and self.hide(each) for each in (text, refusal)]
        return Reply(hidden[0], hidden[1], str(choice.finish_reason), *tokens)

    def hide(self, text: str) -> str:
        """The text with the key struck out, unless it is a mere word such as `EMPTY` or `x`."""
        return text.replace(self._key, _HIDDEN) if len(self._key) >= _LEAST_SECRET else text

    def close(self) -> None:
        self._client.close()


def _import_client() -> ModuleType:
    """The client; now and not earlier, because it takes a second and may be missing."""
    try:
        import openai
        import py3langid  # noqa: F401, for the replies
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed; the writer openai needs clamp3[summaries]"
        ) from error
    return openai


def _plain(content: object) -> object:
    """The text of a message that comes in parts; anything else as it is."""
    if not isinstance(content, list):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")


def _count(tokens: object) -> int | None:
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def _check_access(key: str, variable: str, base_url: str | None) -> None:
    if not key and not base_url:
        raise ConfigError(f"the environment variable {variable} holds no key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"what the environment variable {variable} holds is no key: there are blanks, line "
            "ends or letters in it that no key has"
        )
    address = urlsplit(base_url or "https://api.openai.com")
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigError(
            "base_url is no address of a server; expected one such as http://localhost:8000/v1"
        )


def _said(error: Exception) -> str:
    """The server's sentence, of an answer that usually is JSON around it."""
    body = error.body if isinstance(error.body, dict) else {}
    said = body.get("message")
    return said if isinstance(said, str) else str(error.message)


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long the server wants to be left alone: a number of seconds, or the time until a date."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


class Pace:
    """When the next request may go out: so many a minute, none while the server wants rest."""

    def __init__(self, requests_per_minute: float | None, stop: threading.Event):
        self._gap = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next, self._lock, self._stop = 0.0, threading.Lock(), stop

    def wait(self) -> None:
        """Return when it is this request's turn, or at once when all is to stop."""
        with self._lock:
            turn = max(time.monotonic(), self._next)
            self._next = turn + self._gap
        self._stop.wait(max(turn - time.monotonic(), 0.0))

    def rest(self, seconds: float) -> None:
        """No request goes out for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
