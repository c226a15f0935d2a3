"""Who may ask, how many at once, and what every answer carries."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from service.live import Live, serving
from waiting import wait_for

from clamp3.retrieval.embedding.embedder import Embedder

TOKEN = "sesame-öffne-dich"


@pytest.fixture(scope="module")
def guarded(model: Embedder, index: Path):
    with serving(model, index, token=TOKEN) as running:
        yield running


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("LocalHost:8000", 200),
        ("[::1]:9", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("localhost:x", 421),
        ("", 421),
    ],
)
def test_other_names_do_not_lead_here(live: Live, host: str, status: int):
    for target in ("/api/health", "/", "/openapi.json", "/static/x"):
        found = live.raw("GET", target, Host=host)[0]
        assert found == status or (found == 404 and status == 200)


def test_a_refused_name_hears_each_right_one_once(model: Embedder, index: Path):
    with serving(model, index, hosts=("127.0.0.1", "127.0.0.1")) as live:
        said = live.raw("GET", "/api/health", Host="evil.example")[1].decode()
    assert 'expected 127.0.0.1"' in said


@pytest.mark.parametrize("target", ["/", "/api/health", "/api/search?text=a", "/static/main.js"])
def test_head_is_get_without_its_body(live: Live, target: str):
    asked, headed = live.client.get(target), live.client.head(target)
    assert headed.status_code == asked.status_code == 200
    assert headed.headers["content-type"] == asked.headers["content-type"]
    assert not headed.content
    assert live.client.get("/api/health").status_code == 200


def test_any_name_leads_here_where_others_may_ask(model: Embedder, index: Path):
    with serving(model, index, hosts=None) as live:
        assert live.raw("GET", "/api/health", Host="music.example")[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "SAME"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(live: Live, headers: dict, status: int):
    headers = {
        name: f"http://127.0.0.1:{live.port}" if value == "SAME" else value
        for name, value in headers.items()
    }
    for path in ("/api/search?text=a", "/metrics"):
        assert live.client.get(path, headers=headers).status_code == status
    file = {"file": ("a.txt", b"a reel")}
    assert live.client.post("/api/search", files=file, headers=headers).status_code == status
    assert "access-control-allow-origin" not in live.client.get("/api/health").headers
    assert live.client.get("/openapi.json", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("", 401),
        (None, 401),
    ],
)
def test_a_token_is_asked_for(guarded: Live, given: str | None, status: int):
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/api/health", "/api/info", "/api/search?text=a", "/metrics", "/api/nothing"):
        answer = guarded.client.get(path, headers=headers)
        assert answer.status_code == (404 if status == 200 and "nothing" in path else status)
        if status == 401:
            assert answer.json()["kind"] == "wrong_token"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
    assert guarded.client.get("/", headers=headers).status_code == 200
    schema = guarded.client.get("/openapi.json").json()
    assert schema["paths"]["/api/search"]["get"]["security"] == [{"token": []}]


def test_too_many_at_once_are_told_to_come_again(
    model: Embedder, index: Path, monkeypatch: pytest.MonkeyPatch
):
    with serving(model, index, requests_at_once=3) as live:
        hold = threading.Event()
        compute = live.service.model.texts
        monkeypatch.setattr(
            live.service._texts, "_compute", lambda texts: (hold.wait(20), compute(texts))[1]
        )
        pool = ThreadPoolExecutor(3)
        asked = [pool.submit(live.search, text="a") for _ in range(3)]
        registry = live.service.metrics.registry
        wait_for(lambda: registry.get_sample_value("clamp3_requests_in_progress") == 3, 10)
        refused = live.client.get("/api/search", params={"text": "a"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["kind"] == "busy"
        assert live.client.get("/api/health").status_code == 200
        hold.set()
        pool.shutdown()
        assert all(answer.result()["results"] for answer in asked)
        assert live.search(text="a")


def test_what_takes_too_long_is_told_so(
    model: Embedder, index: Path, monkeypatch: pytest.MonkeyPatch
):
    with serving(model, index, seconds=0.5) as live:
        monkeypatch.setattr(
            live.service._texts, "_compute", lambda texts: [time.sleep(1.5)] * len(texts)
        )
        refused = live.client.get("/api/search", params={"text": "a"})
        assert refused.status_code == 503
        assert refused.json() == {
            "error": "not done after 0.5 s, which is the limit",
            "kind": "timed_out",
        }


def test_a_fault_of_the_program_says_nothing_of_it(
    model: Embedder,
    index: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    with serving(model, index) as live:

        def fail(texts: list[str]) -> None:
            raise ZeroDivisionError("at /secret/place")

        monkeypatch.setattr(live.service._texts, "_compute", fail)
        answer = live.client.get("/api/search", params={"text": "a"})
        assert answer.status_code == 500
        assert answer.json() == {
            "error": "this is a fault of the program; its log says more",
            "kind": "internal_error",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "at /secret/place" in caplog.text
        assert live.client.get("/api/health").status_code == 200


def test_every_answer_carries_the_headers_of_safety(live: Live):
    for path in ("/", "/api/health", "/api/search", "/nothing", "/static/nothing", "/openapi.json"):
        headers = live.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    for path in ("/docs", "/redoc", "/nothing", "/api/", "/api/nothing"):
        answer = live.client.get(path)
        assert answer.status_code == 404
        assert answer.json()["kind"] == "no_such_page"
    assert live.client.delete("/api/search").status_code == 405


def test_the_page_is_given_or_its_absence_told(model: Embedder, index: Path, tmp_path: Path):
    with serving(model, index, page=tmp_path / "none") as live:
        assert live.client.get("/").text.startswith("The page is not there.")
        assert live.client.get("/static/a.js").status_code == 404
    (tmp_path / "index.html").write_text("<p>here</p>", encoding="utf-8")
    (tmp_path / "a.js").write_text("1", encoding="utf-8")
    with serving(model, index, page=tmp_path) as live:
        assert live.client.get("/").text == "<p>here</p>"
        assert live.client.get("/").headers["cache-control"] == "no-cache"
        once = live.client.get("/static/a.js")
        assert (once.text, once.headers["cache-control"]) == ("1", "no-cache")
        same = {"If-None-Match": once.headers["etag"]}
        assert live.client.get("/static/a.js", headers=same).status_code == 304
        kept = live.client.get("/static/a.js?v=2").headers["cache-control"]
        assert kept == "public, max-age=31536000, immutable"
        for target in ("/static/../settings.py", "/static/%2e%2e/settings.py", "/static/%00"):
            assert live.raw("GET", target)[0] == 404


def test_the_log_tells_requests_but_neither_queries_nor_tokens(
    guarded: Live, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    headers = {"Authorization": f"Bearer {TOKEN}".encode()}
    guarded.client.get("/api/search", params={"text": "my secret wish"}, headers=headers)
    guarded.raw("GET", "/api/piece/a%0Ab%20c")

    def told() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "clamp3.service.access"]

    wait_for(lambda: len(told()) == 2, 5)  # lines are written after the answer
    first, second = told()
    assert first.startswith("127.0.0.1 GET /api/search 200 ")
    assert " GET /api/piece/a%0Ab%20c 401 " in second
    said = [r.getMessage() for r in caplog.records if r.name.startswith(("clamp3", "uvicorn"))]
    assert len(said) == 2
    assert "sesame" not in "".join(said)


def test_metrics_count_what_happened(model: Embedder, index: Path, live: Live):
    with serving(model, index) as other:  # two in one program
        for _ in range(3):
            other.client.get("/api/search", params={"text": "a"})
        other.client.get("/api/piece/nobody")
        other.client.get("/no/such/place")
        other.client.request("BREW", "/api/health")
        text = other.client.get("/metrics").text
        assert live.client.get("/metrics").status_code == 200
    for line in (
        'clamp3_requests_total{method="GET",route="/api/search",status="200"} 3.0',
        'clamp3_requests_total{method="GET",route="/api/piece/{id:path}",status="404"} 1.0',
        'clamp3_requests_total{method="GET",route="other",status="404"} 1.0',
        'clamp3_request_seconds_count{route="/api/search"} 3.0',
        'clamp3_batch_size_sum{what="texts"} 3.0',
        "clamp3_index_rows 20.0",
        "clamp3_index_pieces 20.0",
        "process_resident_memory_bytes ",
    ):
        assert line in text
    assert 'method="other"' in text
    assert "nobody" not in text
