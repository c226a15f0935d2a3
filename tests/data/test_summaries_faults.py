"""Servers, keys, ledgers and metadata at their worst: what a run makes of them and says."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pyarrow as pa
import pytest
from chat_server import TEXTS
from summary_runs import KEY, accepted, rejected, run, running_server, settings, write_pieces

from clamp3.data.catalog import SCHEMA as CATALOG_SCHEMA
from clamp3.data.summaries import prompt
from clamp3.data.summaries.ledger import Cost, Ledger
from clamp3.data.summaries.summarise import estimate, summarise
from clamp3.errors import ConfigError, DataError
from clamp3.files import write_table


@pytest.fixture
def server(monkeypatch):
    with running_server(monkeypatch) as state:
        yield state


# --- replies ---


@pytest.mark.parametrize("title", ["once-torn", "once-shut", "wrapped", "uncounted"])
def test_replies_that_break_off_or_have_words_around_them(server, tmp_path, title):
    title = title if "-" in title else f"always-{title}"
    report = run(server, tmp_path, [title, "good"], languages={"de": 1})
    assert (report["accepted"], report["rejected"]) == (2, {})
    # Without the server's count, the most that a request can take counts.
    uncounted = title in ("once-torn", "once-shut", "always-uncounted")
    assert report["tokens"] > server.tokens if uncounted else report["tokens"] == server.tokens
    assert len(server.asked[title]) == (2 if title.startswith("once") else 1)


def test_contents_in_parts_and_the_filter_of_contents(server, tmp_path):
    titles = ["always-parts", "always-filtered", "always-oddparts"]
    report = run(server, tmp_path, titles, languages={"de": 1}, max_attempts=2)
    assert report["accepted"] == 1
    assert report["rejected"] == {"garbled": 1, "refused": 1}
    assert len(server.asked["always-filtered"]) == 1


def test_a_model_of_no_use_does_not_eat_up_the_budget(server, tmp_path):
    titles = [f"always-cut {number}" for number in range(80)]
    with pytest.raises(DataError, match=r"2\d pieces in a row .* cut off at max_output_tokens"):
        run(server, tmp_path, titles, concurrency=4)
    before = len(server.requests)
    assert before <= (20 + 4) * 3
    server.outcome = lambda title: "good"
    report = run(server, tmp_path, titles, concurrency=4)  # goes on, without those
    assert 20 <= report["rejected"]["bad_reply"] < 24
    report = run(server, tmp_path, titles, concurrency=4, max_questions=4)
    assert report["accepted"] == 80


# --- servers that turn requests away ---


def refuses(status, message, *, of=None, about="", heads=None, times=999):
    """Answers so many times with an error: if an option is there, or words of the metadata."""
    turned = []

    def turn_away(body):
        named = (of is None or of in body) and about in body["messages"][1]["content"]
        if not named or len(turned) == times:
            return None
        turned.append(body)
        return status, heads or {}, {"error": {"message": message, "code": None}}

    return turn_away


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        ("response_format", "'response_format' of type 'json_schema' is unknown", "structure"),
        ("max_completion_tokens", "Unrecognized argument: max_completion_tokens", "output_limit"),
    ],
)
def test_an_option_the_server_does_not_know_names_the_setting(
    server, tmp_path, option, message, hint
):
    server.turn_away = refuses(400, message, of=option)
    titles = [f"t{number}" for number in range(40)]
    with pytest.raises(ConfigError, match=f"HTTP 400: .*; change the setting {hint}"):
        run(server, tmp_path, titles, concurrency=2)
    assert len(server.requests) <= 2
    assert not (tmp_path / "out/summaries.parquet").exists()
    changes = {"structure": "none", "output_limit": "max_tokens"}
    assert run(server, tmp_path, titles[:3], **changes)["accepted"] == 3


@pytest.mark.parametrize("status", [400, 403])
def test_where_others_were_answered_it_is_the_piece(server, tmp_path, status):
    server.turn_away = refuses(status, "max_tokens is too large for this context", about="Bad")
    report = run(server, tmp_path, ["good", "Bad", "fine"], concurrency=1)
    assert (report["accepted"], report["rejected"]) == (2, {"bad_request": 1})


def test_a_title_that_the_server_quotes_is_no_complaint(server, tmp_path):
    title = "response_format is wrong"
    server.turn_away = refuses(400, f"no: {title}", about=title)
    report = run(server, tmp_path, [title, "good"], concurrency=1)
    assert (report["accepted"], report["rejected"]) == (1, {"bad_request": 1})
    assert "change the setting" not in rejected(tmp_path)[0].reason


def test_a_wrong_key_ends_the_run_with_one_sentence(server, tmp_path):
    server.turn_away = refuses(401, "Incorrect API key provided")
    with pytest.raises(ConfigError) as told:
        run(server, tmp_path, [f"t{number}" for number in range(300)], concurrency=4)
    hint = "check the key in the environment variable SUMMARY_KEY"
    expected = f"127.0.0.1 answers HTTP 401: Incorrect API key provided; {hint}"
    assert str(told.value) == expected
    assert len(server.requests) <= 4
    assert not (tmp_path / "out/rejected.parquet").exists()


@pytest.mark.parametrize("as_date", [False, True])
def test_the_server_says_how_long_to_wait(server, tmp_path, as_date):
    until = datetime.now(UTC) + timedelta(seconds=2)
    heads = {"Retry-After": format_datetime(until, usegmt=True) if as_date else "0.6"}
    server.turn_away = refuses(429, "slow down", heads=heads, times=1)
    report = run(server, tmp_path, ["a", "b"], concurrency=1, max_pause_seconds=5)
    assert report["accepted"] == 2
    assert server.times[1] - server.times[0] >= (0.5 if as_date else 0.6)  # dates have no fractions


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "soon", "Wed, 99 Foo 2015 07:28:00 GMT"])
def test_waits_that_are_none(server, tmp_path, text):
    server.turn_away = refuses(429, "slow down", heads={"Retry-After": text})
    report = run(server, tmp_path, ["a"], max_attempts=2)
    assert report["rejected"] == {"rate_limit": 1}


# --- keys and addresses ---


@pytest.mark.parametrize("key", [f"{KEY}\nX-More: 1", f"{KEY} b", f"{KEY}…", f"Bearer {KEY}"])
def test_what_cannot_be_a_key_is_not_sent_and_not_told(server, tmp_path, monkeypatch, key):
    monkeypatch.setenv("SUMMARY_KEY", key)
    with pytest.raises(ConfigError, match="SUMMARY_KEY holds is no key") as told:
        run(server, tmp_path, ["a"])
    assert "very-secret" not in str(told.value)
    assert not server.requests


def test_a_word_for_a_key_leaves_the_replies_alone(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SUMMARY_KEY", "a")
    run(server, tmp_path, ["x"])
    assert accepted(tmp_path)[0]["summary_en"] == TEXTS["English"]


@pytest.mark.parametrize("address", ["localhost:8000/v1", "/v1", "ftp://x/v1", "http://", "http:x"])
def test_addresses_that_are_none(server, tmp_path, address):
    with pytest.raises(ConfigError, match="base_url is no address of a server"):
        run(server, tmp_path, ["a"], base_url=address)


# --- ledgers ---


def test_a_ledger_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for ledger in ("folder", "file/ledger.jsonl"):
        with pytest.raises(DataError, match="cannot be written"):
            run(server, tmp_path, ["a"], ledger=str(tmp_path / ledger))
    assert not server.requests


def test_a_full_disk_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.begin("a", Cost(10, 0.0))
        whole, write = path.read_bytes(), os.write

        def half_then_full(file, data):
            if len(data) < 60:
                raise OSError(28, "No space left on device")
            return write(file, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(DataError, match=r"cannot be written.*No space left"):
            ledger.begin("b", Cost(10, 0.0))
        monkeypatch.undo()
        assert path.read_bytes() == whole
        ledger.begin("c", Cost(10, 0.0))
    with Ledger(path) as again:
        assert again.asked == {"a", "c"}


def test_one_ledger_for_two_folders_asks_once_and_one_at_a_time(server, tmp_path):
    ledger = {"ledger": str(tmp_path / "shared/ledger.jsonl")}
    run(server, tmp_path, ["a", "b"], **ledger)
    source = write_pieces(tmp_path / "more.jsonl", ["a", "b", "c"])
    chosen = settings(server, **ledger)
    found = estimate(source, tmp_path / "other", settings=chosen, seed=1)
    assert (found.answered, found.questions) == (2, 1)
    server.delay_seconds = 0.5
    told = []

    def beside():
        while len(server.requests) < 3:
            time.sleep(0.01)
        try:
            summarise(source, tmp_path / "third", settings=chosen, seed=1)
        except DataError as error:
            told.append(str(error))

    thread = threading.Thread(target=beside)
    thread.start()
    report = summarise(source, tmp_path / "other", settings=chosen, seed=1)
    thread.join()
    assert report["accepted"] == 3
    assert len(server.requests) == 3
    assert "another run writes to it" in told[0]
    assert not (tmp_path / "out/ledger.jsonl").exists()


# --- metadata ---


def test_metadata_without_measure_become_a_question_of_bounded_size():
    nested = "deep"
    for _ in range(200):
        nested = [nested]
    record = {
        "title": "x" * 1_000_000,
        "k" * 1_000_000: "key",
        "tags": ["t" * 50_000] * 5,
        **{f"field {number}": "v" for number in range(5_000)},
        "nested": nested,
        "number": float("nan"),
        "object": {"a" * 9_000: {"b": 1}},
    }
    shown = prompt.clean_metadata(record, 2000)
    assert len(json.dumps(shown, ensure_ascii=False)) < 3000
    assert "number" not in shown
    json.dumps(shown, allow_nan=False)
    assert len(prompt.clean_metadata({"title": "x" * 10**6}, 2000)["title"]) > 1900


@pytest.mark.parametrize("writer", ["template", "openai"])
def test_a_catalogue_without_pieces(server, tmp_path, writer):
    part = tmp_path / "catalog/part-00000-of-00001.parquet"
    write_table(part, CATALOG_SCHEMA.empty_table())
    chosen = settings(server, writer=writer, languages={})
    report = summarise(part, tmp_path / "out", settings=chosen, seed=0)
    assert (report["pieces"], report["accepted"], report["languages"]) == (0, 0, {})
    assert accepted(tmp_path) == rejected(tmp_path) == []
    assert (tmp_path / "out/summaries.jsonl").read_text() == ""


def test_a_limit_in_money_needs_a_price_before_anything_is_asked(server, tmp_path):
    limits = {"max_money": 1.0, "prices": {"another": {"input": 1.0, "output": 1.0}}}
    source = write_pieces(tmp_path / "pieces.jsonl", ["a"])
    chosen = settings(server, **limits)
    for call in (estimate, summarise):
        with pytest.raises(ConfigError, match="max_money is set, but prices has no 'stub'"):
            call(source, tmp_path / "out", settings=chosen, seed=1)
    assert not server.requests


def test_pieces_of_a_catalogue_keep_their_ids_whatever_their_titles(server, tmp_path):
    titles = ["a\x00b", "", "  ", "\u202e", "x" * 100_000, None, '{"id": "other"}']
    rows = [
        {"id": f"pdmx/{number}", "title": title, "genres": ["folk"]}
        for number, title in enumerate(titles)
    ]
    part = tmp_path / "part-00000-of-00001.parquet"
    write_table(part, pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA))
    summarise(part, tmp_path / "out", settings=settings(server), seed=0)
    assert [row["id"] for row in accepted(tmp_path)] == [row["id"] for row in rows]
