"""The gate that every request passes: who may ask, how many at once, what is told of it."""

import asyncio
import logging
import secrets
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clamp3.service.failures import RequestError, busy, refusal_of
from clamp3.service.metrics import Metrics
from clamp3.service.settings import Settings

access = logging.getLogger("clamp3.service.access")

# No script, style or file but the service's own; sound and pictures may be made on the page.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
METRICS_PATH = "/metrics"
API_PATH = "/api/"
HEALTH_PATH = "/api/health"


class Gate:
    """ASGI middleware: refuses, counts, logs, and adds headers to every answer."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._token = settings.token.encode() if settings.token else None
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the start and the end
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server, which knows better, sends no body
        answer = _Answer(scope, send)
        self._active += 1
        self._metrics.active.inc()
        try:
            self._refuse(scope)
            await self._app(scope, receive, answer.send)
        except Exception as error:
            await answer.fail(refusal_of(error), receive)
        except asyncio.CancelledError:  # the service ends, and does not wait any longer
            await answer.fail(busy("the service ends", "ending", 5), receive)
        finally:
            self._active -= 1
            self._metrics.active.dec()
            self._note(answer)

    def _refuse(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._refuse_host(headers)
        path = scope["path"]
        if path.startswith(API_PATH) or path == METRICS_PATH:
            _refuse_other_sites(headers)
            self._refuse_stranger(headers)
            if self._active > self._settings.requests_at_once and path != HEALTH_PATH:
                raise busy("too many requests at once; try again in a second")

    def _refuse_host(self, headers: Headers) -> None:
        """A page of another site may have its name lead to this machine."""
        allowed = self._settings.hosts
        host = headers.get("host", "")
        if allowed is not None and _without_port(host).lower() not in allowed:
            known = " or ".join(dict.fromkeys(allowed))
            raise RequestError(421, "wrong_host", f"asked for host {host!r}; expected {known}")

    def _refuse_stranger(self, headers: Headers) -> None:
        if self._token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = secrets.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not right:
            sentence = "wrong or missing token; expected the header Authorization: Bearer …"
            raise RequestError(401, "wrong_token", sentence, {"WWW-Authenticate": "Bearer"})

    def _note(self, answer: "_Answer") -> None:
        seconds = time.monotonic() - answer.start
        scope, status = answer.scope, answer.status or 499  # 499: nobody waited for it
        route = getattr(scope.get("route"), "path", None) or "other"
        self._metrics.requests.labels(_method(scope), route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        client = scope.get("client") or ("-", 0)
        path = scope.get("raw_path") or scope["path"].encode()
        access.info(
            "%s %s %s %d %.3f s %d bytes",
            client[0],
            scope["method"],
            path.decode("ascii", "backslashreplace"),
            status,
            seconds,
            answer.bytes,
        )


class _Answer:
    """One answer: adds the headers, and knows how far it got."""

    def __init__(self, scope: Scope, send: Send):
        self.scope = scope
        self.start = time.monotonic()
        self.status = 0
        self.bytes = 0
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        self.bytes += len(message.get("body", b""))
        await self._send(message)

    async def fail(self, refusal: RequestError, receive: Receive) -> None:
        """Say why, unless the answer has begun."""
        if not self.status:
            await answer_of(refusal)(self.scope, receive, self.send)


def answer_of(refusal: RequestError) -> JSONResponse:
    """The refusal as an answer."""
    return JSONResponse(refusal.content, refusal.status, headers=refusal.headers)


def _refuse_other_sites(headers: Headers) -> None:
    """Pages of other sites cannot read answers, but could keep the machine busy."""
    origin = headers.get("origin")
    foreign = origin is not None and _place(origin) != headers.get("host", "").lower()
    if foreign or headers.get("sec-fetch-site") == "cross-site":
        sentence = "asked by a page of another site, which is not allowed"
        raise RequestError(403, "other_site", sentence)


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
    return scope["method"] if scope["method"] in known else "other"
