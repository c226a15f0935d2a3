"""The report's section on summaries: who wrote them, in which languages, and what has none."""

import json
from pathlib import Path

from clamp3.errors import DataError
from clamp3.retrieval.report.html import Html, element, joined, note, section, table

_SHOWN = 12  # languages; more are folded up
_UNANSWERED = "no answer of the server; the next run asks again"
_REASONS = {
    "too_little": "the metadata say too little about the music",
    "refused": "the model would not write about it",
    "wrong_language": "a text was not in its language, however often asked",
    "bad_reply": "no complete reply of the form asked for",
    "leak": "the reply repeated the task",
    "over_budget": "beyond the limits on pieces, tokens or money",
    "bad_request": "the server would not take the question",
    "bad_row": "the source holds no piece there",
    **dict.fromkeys(("rate_limit", "server_error", "timeout", "connection"), _UNANSWERED),
    "garbled": _UNANSWERED,
}


def summaries_section(path: Path) -> Html:
    """What a summaries.json tells; raises DataError where it is none."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        parts = [_writer(report), _languages(report["languages"]), _rejected(report["rejected"])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the report of the stage summaries ({error!r})") from error
    return section("Summaries", *parts)


def _writer(report: dict) -> Html:
    written = "sentences from a table of music terms (the offline stand-in for a language model)"
    if report["writer"] != "template":
        written = joined(["the language model ", element("code", report["model"])])
    told = (
        f", version {report['version']}: {report['accepted']} of {report['pieces']} pieces have a "
        f"summary in English and one in another language ({len(report['languages'])} of them)."
    )
    spent = f" Spent so far: {report['tokens']} tokens"
    spent += f", {report['money']:.2f} in money." if report["money"] else "."
    return element("p", "Written by ", written, told, spent if report["tokens"] else "")


def _languages(counts: dict[str, int]) -> Html:
    rows = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    drawn = table(["language", "pieces"], rows)
    if len(rows) <= _SHOWN:
        return drawn
    return element("details", element("summary", "pieces by language"), drawn)


def _rejected(counts: dict[str, int]) -> Html:
    if not counts:
        return note("No piece was rejected.")
    rows = [
        [kind, _REASONS.get(kind, ""), count]
        for kind, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return table(["rejected", "why", "pieces"], rows, texts=2)
