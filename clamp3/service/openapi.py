"""The OpenAPI document: what each operation may answer, and nothing that it does not."""

from typing import Any

from fastapi import FastAPI

from clamp3.service.answers import Failure
from clamp3.service.gate import API_PATH, METRICS_PATH

_WHY = {
    400: "The request cannot be understood; `error` says why.",
    401: "A token is needed, or it is the wrong one.",
    403: "Asked by a page of another site.",
    404: "There is no such piece, or not in this form.",
    413: "The file is too large.",
    415: "The body is no form.",
    416: "No such part of the file.",
    421: "Asked under a name that is not this service's.",
    422: "The file cannot be read; `error` says why, `kind` is the library's name of the fault.",
    503: "Too many requests at once, or not done in time; `Retry-After` says when to try again.",
}
_ALWAYS = (400, 401, 403, 421, 503)
_GENERATED = "HTTPValidationError"


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an operation may refuse, for its `responses`."""
    return {
        status: {"model": Failure, "description": _WHY[status]}
        for status in sorted({*_ALWAYS, *statuses})
    }


def describe(app: FastAPI, *, token: bool) -> None:
    """Have the document say what is true: no 422 but ours, and that a token is needed."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            for path, operations in schema["paths"].items():
                for operation in operations.values():
                    _correct(operation)
                    if token and path.startswith((API_PATH, METRICS_PATH)):
                        operation["security"] = [{"token": []}]
            schemas = schema["components"]["schemas"]
            for name in (_GENERATED, "ValidationError"):
                schemas.pop(name, None)
            if token:
                bearer = {"type": "http", "scheme": "bearer"}
                schema["components"]["securitySchemes"] = {"token": bearer}
        return app.openapi_schema

    app.openapi = openapi


def _correct(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    if _GENERATED in str(answers.get("422")):
        del answers["422"]
    for status, answer in answers.items():
        if status >= "400":  # JSON, whatever the operation else answers
            answer["content"] = {"application/json": next(iter(answer["content"].values()))}
