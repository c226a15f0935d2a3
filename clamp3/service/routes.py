"""The operations of the HTTP API."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import StringConstraints
from starlette.concurrency import run_in_threadpool

from clamp3 import __version__
from clamp3.errors import Clamp3Error, DataError, FormatError
from clamp3.service import answers
from clamp3.service.collection import unknown_piece
from clamp3.service.failures import RequestError, refusal_of
from clamp3.service.forms import FIELD
from clamp3.service.openapi import failures
from clamp3.service.searching import Asked, SearchService

MOST_CONDITIONS = 20
CONDITION_CHARACTERS = 500
ABC_TYPE, MIDI_TYPE = "text/vnd.abc", "audio/midi"
AUDIO_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".aif": "audio/aiff",
    ".aiff": "audio/aiff",
    ".m4a": "audio/mp4",
}
_CONTENT = {"Cache-Control": "private, max-age=300"}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": "MusicXML, ABC, MIDI, MTF, sound, text, or an image.",
                        }
                    },
                }
            }
        },
    }
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PIECE = {
    200: {
        "description": "What is known of the piece, or with `as` the piece itself.",
        "content": {
            ABC_TYPE: {"schema": {"type": "string"}},
            MIDI_TYPE: _BINARY,
            **dict.fromkeys(sorted(set(AUDIO_TYPES.values())), _BINARY),
        },
    },
    206: {"description": "A part of a file, as `Range` asked for.", "content": {"*/*": _BINARY}},
}

Where = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=CONDITION_CHARACTERS)]],
    Query(
        max_length=MOST_CONDITIONS,
        description="Only results such as `genre=jig` or `year>=1900`; all have to hold.",
        examples=[["genre=jig"]],
    ),
]
OfModality = Annotated[answers.Modality | None, Query(description="Only results of this modality.")]
Approximate = Annotated[
    bool, Query(description="Faster, where the index was built for approximate search.")
]


def api_router(service: SearchService) -> APIRouter:
    """All operations, with the limits of the service."""
    router = APIRouter()
    _add_searches(router, service)
    _add_pieces(router, service)
    _add_facts(router, service)
    return router


def _add_searches(router: APIRouter, service: SearchService) -> None:
    limits = service.settings
    default = min(10, limits.top_k)
    top_k = Annotated[int, Query(ge=1, le=limits.top_k, description="How many results.")]
    characters = StringConstraints(min_length=1, max_length=limits.text_characters)

    @router.get("/api/search", responses=failures(404), operation_id="search")
    async def search(
        text: Annotated[
            Annotated[str, characters] | None,
            Query(description="A text in any language.", examples=["a slow jig in D major"]),
        ] = None,
        like: Annotated[
            Annotated[str, characters] | None,
            Query(description="Instead: the id of a piece; what is like it, without itself."),
        ] = None,
        where: Where = (),
        modality: OfModality = None,
        top_k: top_k = default,
        approximate: Approximate = False,
    ) -> answers.Results:
        """Search with a text, or for what is like a piece of the collection."""
        if (text is None) == (like is None):
            raise RequestError(400, "bad_request", "expected one of text and like")
        asked = Asked(top_k, where, modality, approximate)
        async with service.in_time():
            if text is not None:
                return await service.by_text(text, asked)
            return await service.by_piece(like, asked)

    @router.post(
        "/api/search",
        responses=failures(413, 415, 422),
        openapi_extra=_FORM,
        operation_id="search_by_file",
    )
    async def search_by_file(
        request: Request,
        where: Where = (),
        modality: OfModality = None,
        top_k: top_k = default,
        approximate: Approximate = False,
    ) -> answers.Results:
        """Search with a file: a score, MIDI, sound, text, or an image.

        Its content tells what it is, and where that leaves a doubt its name.
        """
        asked = Asked(top_k, where, modality, approximate)
        async with service.in_time(), service.uploads.receive(request, limits.upload_bytes) as file:
            try:
                return await service.by_file(file, asked)
            except Clamp3Error as error:
                hidden = service.hidden | {str(file.path): file.name, file.path.name: file.name}
                raise refusal_of(error, hidden) from error


def _add_pieces(router: APIRouter, service: SearchService) -> None:
    async def found(name: str, ask: Callable) -> object:
        """What `ask` says of the piece, in a thread: it may read files."""
        snapshot = service.collection.newest()
        async with service.in_time():
            try:
                return await run_in_threadpool(ask, snapshot.pieces, name)
            except DataError as error:
                raise unknown_piece(name) from error
            except FormatError as error:
                raise refusal_of(error, service.hidden | snapshot.hidden) from error
            except OSError as error:
                sentence = f"the file of the piece {name!r} cannot be read"
                raise RequestError(404, "unreadable_file", sentence) from error

    @router.get(
        "/api/piece/{id:path}",
        response_model=answers.Piece,
        responses=_PIECE | failures(404, 416, 422),
        operation_id="piece",
    )
    async def piece(
        id: str,  # noqa: A002 - the name in the API
        form: Annotated[
            answers.Format | None, Query(alias="as", description="The piece itself, in this form.")
        ] = None,
    ) -> object:
        """What is known of a piece; or its score (ABC), MIDI file or sound.

        Ids may hold slashes and any signs, percent-encoded. Sound comes in parts where `Range`
        asks for it.
        """
        if form is None:
            return await found(id, lambda pieces, name: pieces.describe(name))
        content = await found(id, lambda pieces, name: getattr(pieces, form)(name))
        if content is None:
            raise RequestError(404, "no_such_form", f"there is no {form} of the piece {id!r}")
        if isinstance(content, Path):
            return FileResponse(content, media_type=_type_of(form, content), headers=_CONTENT)
        return PlainTextResponse(content, media_type=ABC_TYPE, headers=_CONTENT)

    @router.get("/api/map", responses=failures(404), operation_id="map")
    async def index_map() -> answers.Map:
        """Where the pieces lie on a map of the collection, at most 20,000 of them."""
        snapshot = service.collection.newest()
        async with service.in_time():
            points = await run_in_threadpool(lambda: snapshot.points)
        if not points["id"]:
            raise RequestError(404, "no_map", "the index has no map; build it again to have one")
        return answers.Map(points=answers.Points(**points))


def _add_facts(router: APIRouter, service: SearchService) -> None:
    limits = service.settings

    @router.get("/api/health", responses=failures(), operation_id="health")
    async def health() -> answers.Health:
        """Whether the service answers."""
        return answers.Health(status="ok")

    @router.get("/api/info", responses=failures(), operation_id="info")
    async def info() -> answers.Info:
        """The model, the collection, what can be filtered by, and the limits."""
        snapshot = service.collection.newest()
        async with service.in_time():
            facts = await run_in_threadpool(lambda: snapshot.facts)
        model = service.model
        return answers.Info(
            version=__version__,
            model={
                "name": Path(model.source).name,
                "kind": model.kind,
                "space": model.space,
                "modalities": model.modalities,
            },
            index=facts,
            limits={
                "upload_bytes": limits.upload_bytes,
                "text_characters": limits.text_characters,
                "top_k": limits.top_k,
                "seconds": limits.seconds,
            },
            examples=list(limits.examples),
            has_map=snapshot.index.manifest.map is not None,
        )

    @router.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses=failures(),
        operation_id="metrics",
    )
    async def metrics() -> Response:
        """Counts and durations, as Prometheus reads them."""
        facts = await run_in_threadpool(lambda: service.collection.newest().facts)
        service.metrics.rows.set(facts["rows"])
        service.metrics.pieces.set(facts["pieces"])
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _type_of(form: str, path: Path) -> str:
    return MIDI_TYPE if form == "midi" else AUDIO_TYPES.get(path.suffix.lower(), "audio/wav")
