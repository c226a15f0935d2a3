"""The search service as an ASGI application."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from clamp3 import __version__
from clamp3.errors import Clamp3Error
from clamp3.retrieval.embedding.clap_embedder import ClapEmbedder
from clamp3.retrieval.embedding.embedder import Embedder
from clamp3.service.failures import RequestError, refusal_of
from clamp3.service.gate import Gate, answer_of
from clamp3.service.openapi import describe
from clamp3.service.routes import api_router
from clamp3.service.searching import SearchService
from clamp3.service.settings import Settings

NO_PAGE = "The page is not there. The API is under /api/; /openapi.json describes it.\n"
_REVALIDATED = {"Cache-Control": "no-cache"}
_KEPT = "public, max-age=31536000, immutable"


def create_app(
    model: Embedder | ClapEmbedder, index_folder: str | Path, settings: Settings | None = None
) -> FastAPI:
    """The application: its API, described by `/openapi.json`, and the page at `/`.

    Its threads and processes end with its lifespan. Several may live in one program.

    Raises DataError for an index of another model, ConfigError for a model without a space.
    """
    settings = settings or Settings()
    service = SearchService(model, Path(index_folder), settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await run_in_threadpool(service.start)
            yield
        finally:
            await run_in_threadpool(service.close)

    app = FastAPI(
        title="CLaMP 3 search",
        version=__version__,
        summary="Music retrieval across text, scores, performances and recordings.",
        lifespan=lifespan,
        docs_url=None,  # it would load from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.include_router(api_router(service))
    _add_page(app, settings.page)
    _add_refusals(app, service)
    describe(app, token=settings.token is not None)
    app.add_middleware(Gate, settings=settings, metrics=service.metrics)
    return app


def _add_page(app: FastAPI, folder: Path) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        index = folder / "index.html"
        if not index.is_file():
            return PlainTextResponse(NO_PAGE)
        return FileResponse(index, headers=_REVALIDATED)

    app.mount("/static", _PageFiles(directory=folder, check_dir=False), name="static")


class _PageFiles(StaticFiles):
    """Files that browsers ask for again only when they may have changed.

    An address that names a version (`?v=…`) is kept for good.
    """

    async def check_config(self) -> None:
        """Raise HTTPException where there is no page."""
        if not Path(self.directory).is_dir():
            raise HTTPException(404)

    def file_response(
        self, full_path: str, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        versioned = scope["query_string"].startswith(b"v=")
        response.headers["Cache-Control"] = _KEPT if versioned else "no-cache"
        return response


def _add_refusals(app: FastAPI, service: SearchService) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return answer_of(error)

    @app.exception_handler(Clamp3Error)
    async def failed(_: Request, error: Clamp3Error) -> Response:
        return answer_of(refusal_of(error, service.hidden))

    @app.exception_handler(RequestValidationError)
    async def misunderstood(_: Request, error: RequestValidationError) -> Response:
        return answer_of(RequestError(400, "bad_request", _sentence(error)))

    @app.exception_handler(HTTPException)
    async def no_such_place(_: Request, error: HTTPException) -> Response:
        kinds = {404: "no_such_page", 405: "wrong_method"}
        kind = kinds.get(error.status_code, "bad_request")
        return answer_of(RequestError(error.status_code, kind, str(error.detail), error.headers))


def _sentence(error: RequestValidationError) -> str:
    """What is wrong with the first thing that is."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return f"{where}: {first['msg']}" if where else first["msg"]
