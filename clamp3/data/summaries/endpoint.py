"""One request to an OpenAI-compatible server, its faults sorted by what can be done about them."""

import logging
import os
import threading
import time
from types import ModuleType
from urllib.parse import urlsplit

from clamp3.config import SummariesConfig
from clamp3.data.summaries.ledger import Reply
from clamp3.data.summaries.reply import response_format
from clamp3.errors import ConfigError

_HIDDEN = "***"
_NO_KEY = "none"  # for servers that want none
_AGAIN = (408, 409, 425, 429)  # and 5xx
_IN_VAIN = (401, 402, 403, 404)


class UnansweredError(Exception):
    """A request without a reply.

    `again`: it may work later, after `pause_seconds` if the server says so. `charged`: the server
    may have worked on it and count its tokens.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        again: bool,
        charged: bool = False,
        pause_seconds: float | None = None,
    ):
        super().__init__(message)
        self.kind, self.again, self.charged = kind, again, charged
        self.pause_seconds = pause_seconds


class Endpoint:
    """The server of `settings.base_url`, asked for `settings.model`.

    The key is read from the environment variable `settings.key_variable` and leaves this object
    only in the header of requests: it is struck out of all messages.

    Raises ConfigError without a model, and without a key where the server is OpenAI's own.
    """

    def __init__(self, settings: SummariesConfig):
        if not settings.model:
            raise ConfigError("which model? The writer openai needs its name on the server")
        openai = _import_client()
        self._errors, self._settings = openai, settings
        base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = os.environ.get(settings.key_variable, "").strip()
        if not self._key and not base_url:
            raise ConfigError(f"the environment variable {settings.key_variable} holds no key")
        for name in (
            "openai",
            "httpx",
            "httpx2",
            "httpcore",
            "httpcore2",
        ):  # they log requests, headers too
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
            raise self._sort(error) from None  # its request carries the key
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
        except (ValueError, self._errors.APIError) as error:
            raise self._garbled(error) from None
        return self._read(answer)

    def _sort(self, error: Exception) -> Exception:
        status = error.status_code
        text = self.hide(f"HTTP {status}: {error.message:.300}")
        if status in _IN_VAIN or error.code == "insufficient_quota":
            hint = f"check the key in {self._settings.key_variable}, base_url and model"
            return ConfigError(f"{self.host} answers {text}; {hint}")
        again = status in _AGAIN or status >= 500
        kind = "bad_request" if not again else "rate_limit" if status == 429 else "server_error"
        pause = _seconds(error.response.headers.get("retry-after"))
        return UnansweredError(kind, text, again=again, pause_seconds=pause)

    def _garbled(self, error: object) -> UnansweredError:
        text = self.hide(f"not the JSON of a chat completion ({error!s:.100})")
        return UnansweredError("garbled", text, again=True, charged=True)

    def _read(self, answer: object) -> Reply:
        """Servers differ, and the client does not check what they send."""
        try:
            choice, usage = answer.choices[0], answer.usage
            text, refusal = choice.message.content, getattr(choice.message, "refusal", None)
            tokens = (None, None)
            if usage is not None:
                tokens = (_count(usage.prompt_tokens), _count(usage.completion_tokens))
        except (AttributeError, IndexError, TypeError) as error:
            raise self._garbled(error) from None
        if not isinstance(text, str | None) or not isinstance(refusal, str | None):
            raise self._garbled("its content is no text")
        hidden = [each and self.hide(each) for each in (text, refusal)]
        return Reply(hidden[0], hidden[1], str(choice.finish_reason), *tokens)

    def hide(self, text: str) -> str:
        """The text with the key struck out."""
        return text.replace(self._key, _HIDDEN) if self._key else text

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


def _count(tokens: object) -> int | None:
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def _seconds(header: str | None) -> float | None:
    try:
        return max(float(header), 0.0)
    except (TypeError, ValueError):  # a date, or nothing
        return None


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
