"""The service against its own OpenAPI document, as schemathesis sees it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from service.live import Live

OPERATIONS = (
    "GET /api/search",
    "POST /api/search",
    "GET /api/piece/{id}",
    "GET /api/map",
    "GET /api/health",
    "GET /api/info",
    "GET /metrics",
)
WITHOUT_INPUT = {"GET /api/map", "GET /api/health", "GET /api/info", "GET /metrics"}
MODES = {"fitting": GenerationMode.POSITIVE, "unfit": GenerationMode.NEGATIVE}
# Values that fit the document may still mean nothing: an unknown id, a broken file.
EXCLUDED = [positive_data_acceptance]


@pytest.fixture(scope="module")
def document(live: Live) -> dict:
    return live.client.get("/openapi.json").json()


@pytest.fixture(scope="module")
def api(live: Live, document: dict):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=str(live.client.base_url))
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def exercise(operation, mode: GenerationMode, examples: int) -> None:
    """Send so many requests, each to be answered as the document says."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=EXCLUDED)

    check()


def requests(live: Live) -> int:
    """How many the service has answered."""
    lines = live.client.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("clamp3_requests_total{")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in counts)


def test_all_operations_are_exercised(api):
    assert sorted(api) == sorted(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", MODES)
def test_answers_are_those_of_the_document(api, live: Live, operation: str, mode: str):
    if operation in WITHOUT_INPUT:
        if mode == "fitting":
            exercise(api[operation], MODES[mode], 3)
        return
    before = requests(live)
    exercise(api[operation], MODES[mode], 50)
    assert requests(live) >= before + 40
    assert live.client.get("/api/health").status_code == 200


def test_every_operation_is_described(document: dict):
    assert document["info"]["title"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["operationId"], path
            assert operation["description"], path
            for status, answer in operation["responses"].items():
                assert answer["description"]
                if status >= "400":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Failure"}
            for parameter in operation.get("parameters", []):
                assert parameter["name"] == "id" or parameter["description"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
